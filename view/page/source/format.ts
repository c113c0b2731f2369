// Numbers and signs as people read them; the same words as the terminal's.
import { Campaign, FAILED, FLYING, KEPT, Node, PARKED } from "./data";

export const WORD: Record<number, string> = { [FLYING]: "in flight", [KEPT]: "kept", [PARKED]: "parked", [FAILED]: "failed" };
export const SIGN: Record<number, string> = { [FLYING]: "◌", [KEPT]: "●", [PARKED]: "○", [FAILED]: "✗" };

export const pad = (id: number) => String(id).padStart(4, "0");

export function places(campaign: Campaign): number {
  const root = campaign.nodes.get(0)?.mean, noise = campaign.head.noise;
  const size = root ? Math.floor(Math.log10(Math.abs(root) || 1)) : 0;
  const least = Math.max(0, 4 - Math.max(0, size));
  return noise ? Math.min(6, Math.max(least, 1 - Math.floor(Math.log10(noise)))) : least;
}
export const value = (c: Campaign, v: number | null | undefined) =>
  v == null ? "–" : (Math.abs(v) < 1e9 ? v.toFixed(places(c)) : v.toPrecision(4)).replace("-", "−");
export const change = (c: Campaign, v: number | null | undefined) =>
  v == null ? "–" : (v > 0 ? "+" : "") + value(c, v);

/** What is to be added to `before` to get `after`, and which way that is. */
export function against(c: Campaign, before: number, after: number): { text: string; word: "better" | "worse" | "equal" } {
  const text = change(c, after - before);
  if (!/[1-9]/.test(text)) return { text: text.replace(/^[+−]/, ""), word: "equal" };
  return { text, word: c.loss(after) < c.loss(before) ? "better" : "worse" };
}

export function duration(seconds: number | null | undefined): string {
  if (seconds == null) return "–";
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1).replace(/\.0$/, "") : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
export const dollars = (v: number | null) => (v === null ? "unknown" : v ? `$${v.toFixed(v < 0.1 ? 4 : v < 100 ? 2 : 0)}` : "$0");
/** What a campaign's model calls cost; an unknown price makes the sum unknown, never smaller. */
export function spent(d: any): string {
  if (!d.calls) return "no model was asked";
  const tokens = d.tokens >= 1e6 ? `${(d.tokens / 1e6).toPrecision(3)} M` : d.tokens >= 1e3 ? `${Math.round(d.tokens / 1e3)} k` : String(d.tokens);
  return `models ${d.dollars_unknown ? `unknown${d.dollars ? ` (more than ${dollars(d.dollars)})` : ""}` : dollars(d.dollars)}, ${d.calls} call${d.calls > 1 ? "s" : ""}, ${tokens} tokens`;
}
export const mark = (node: Node) => (node.by === "printed" ? "†" : node.by === "synthetic" ? "‡" : "");
export const MARKS: Record<string, string> = { printed: "† self-reported: nothing checked it", synthetic: "‡ synthetic: nothing was trained" };

export const contract = (node: Node) => (node.setback ? node.setback[0] : ""); // open, paid off, closed, failed

export function ticks(low: number, high: number, count: number): number[] {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return [low];
  const raw = span / Math.max(1, count), power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((m) => m * power >= raw) ?? 10);
  const found: number[] = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-6; at += step) found.push(Math.abs(at) < step * 1e-6 ? 0 : at);
  return found;
}
