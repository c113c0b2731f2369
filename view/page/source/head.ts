// The campaign at a glance: what was won, how sure that is, where the search went, what it cost, what to worry about.
import { Campaign, FLYING, KEPT } from "./data";
import { byId, h, said, svg, swap } from "./dom";
import { SIGN, duration, pad, spent, value } from "./format";
import { State } from "./state";

export function drawHead(state: State, connected: string): void {
  const c = state.campaign, d = c.head;
  const pill = d.running ? (d.paused ? ["paused", "still"] : ["running", "live"]) : d.stopped ? [`stopped: ${d.stopped}`, "still"] : ["interrupted", "still"];
  document.title = `${c.name} · ratchetree`;
  swap(byId("name"), h("strong", { dir: "auto" }, c.name), h("span", { class: `pill ${pill[1]}` }, pill[0]),
    connected ? h("span", { class: "pill warn" }, connected) : null);
  if (c.empty) { swap(byId("tiles"), h("p", { class: "empty" }, "Nothing has run here yet. Start with: ratchetree run")); return; }
  const root = c.node(0), main = c.node(d.incumbent), word = c.min ? "lower" : "higher";
  const interval = d.gain_sd == null ? null : 1.96 * d.gain_sd;
  const sure = d.gain == null || !d.incumbent ? "nothing has beaten the root yet" : interval === null ? "how sure: not known, nothing was repeated"
    : d.gain > interval ? "sure: well outside the noise" : "not sure: inside the noise";
  const unresolved = (d.advances as number[]).filter((id) => c.resolved(id) === false).length, steps = d.advances.length - 1;
  const [flying, kept, parked, failed] = d.counts, judged = kept + parked + failed;
  const left = timeLeft(d, judged);
  swap(byId("tiles"),
    tile("won", "What was won", d.gain == null ? "–" : `${d.gain > 0 ? (c.min ? "−" : "+") : ""}${value(c, Math.abs(d.gain))}`,
      `${c.metric} ${value(c, root.mean)} → ${value(c, main.mean)} (${word} is better)${d.scorer !== "trusted" ? `, ${d.scorer}` : ""}`),
    tile(d.gain != null && interval != null && d.gain > interval ? "sure" : "unsure", "How sure", interval === null ? "?" : `± ${value(c, interval)}`,
      `95 %; ${sure}. ${steps ? `${steps - unresolved} of ${steps} step${steps > 1 ? "s" : ""} of main resolved` : ""}${d.noise != null ? `, noise ${value(c, d.noise)} a trial${d.freedom ? "" : " (stated, not measured here)"}` : ""}${d.screened ? "; main's score is the one trial it was picked by, so it flatters" : ""}${d.claim ? `. Confirmed: ${d.claim}` : ""}`),
    tile("where", "Where it went", String(judged),
      h("span", {}, sign("v2", `${SIGN[2]} ${kept} kept`), sign("v3", `${SIGN[3]} ${parked} parked`), sign("v4", `${SIGN[4]} ${failed} failed`), h("br"), said(kinds(c))), ["experiments", flying ? h("span", { class: "v1" }, `  ${SIGN[1]} ${flying} in flight`) : null]),
    tile("cost", "What it cost", d.ran > 0 ? duration(d.ran) : "not known", !(d.ran > 0) ? "the run wrote down no times and no prices" :
      `${d.per_hour ? `${d.per_hour.toPrecision(3)} an hour · ` : ""}${d.trained ? `training ${duration(d.trained)} · ` : ""}${spent(d)}${left ? ` · ${left}` : ""}`));
  swap(byId("warnings"), warnings(state, judged).map((words) => h("li", {}, words)));
  if (!late) late = window.setTimeout(() => { late = 0; gantt(state); }, document.getElementById("slots")!.childElementCount ? 1000 : 50);
}
let late = 0; // the slots need not keep up with every event: they are drawn after the pictures, once a second

const sign = (cls: string, words: string) => h("span", { class: `count ${cls}` }, words);
function tile(cls: string, name: string, big: string, words: any, unit: any = null): HTMLElement {
  return h("div", { class: `tile ${cls}` }, h("h2", {}, name), h("p", { class: "big" }, big, unit ? h("small", {}, " ", unit) : null), h("p", { class: "words" }, words));
}
function timeLeft(d: any, judged: number): string {
  if (!d.running || d.paused || !d.per_hour) return "";
  const limits = d.limits ?? {}, hours: number[] = [];
  if (limits.experiments) hours.push(Math.max(0, limits.experiments - judged) / d.per_hour);
  if (limits.hours && d.begun) hours.push(Math.max(0, limits.hours - (Date.now() / 1000 - d.begun) / 3600));
  return hours.length ? `about ${duration(Math.min(...hours) * 3600)} left` : "";
}
function warnings(state: State, judged: number): string[] {
  const c = state.campaign, d = c.head, found: string[] = [];
  const since = d.since_move;
  if (judged >= 20 && since > Math.max(20, 1.5 * d.longest)) found.push(`plateau: main has not moved for ${since} experiments (longest wait before: ${d.longest})`);
  if (judged >= 10 && d.counts[3] / judged > 0.4) found.push(`${Math.round((100 * d.counts[3]) / judged)} % of the experiments failed: ${Object.entries(d.failures).map(([k, n]) => `${n} ${k}`).join(", ")}`);
  if (d.scorer !== "trusted") found.push(`scores are ${d.scorer}: ${d.scorer === "synthetic" ? "nothing was trained" : "nothing checked what the script printed"}`);
  if (d.noise == null && judged) found.push("the noise is not known: no trial was repeated, so no step can be called sure");
  if (d.starved > 2) found.push(`${d.starved} runs were void, because the machine was taken from them`);
  if (d.asked && d.running) found.push(askedWords(d.asked));
  if (d.running && d.updated && Date.now() / 1000 - d.updated > 3600) found.push(`no event for ${duration(Date.now() / 1000 - d.updated)}`);
  return found;
}

const ASKS: Record<string, string> = { promote: "try next", repeat: "more trials of", close: "park the line at", reopen: "reopen the line at" };
function askedWords([ask, node, note, refused, at]: [string, number | null, string, string, number]): string {
  const when = new Date(at * 1000).toTimeString().slice(0, 5);
  return `asked at ${when}: ${ASKS[ask] ?? ask}${node === null ? "" : ` ${pad(node)}`}${note ? ` (${note})` : ""}; ${refused ? `refused: ${refused}` : "heard"}`;
}
/** The kinds of ideas, the most frequent first: "architecture 12 (2 kept)". */
function kinds(c: Campaign): string {
  const found = new Map<string, [number, number]>();
  for (const n of c.order) {
    if (!n.id || !n.category || n.verdict === FLYING) continue;
    const row = found.get(n.category) ?? found.set(n.category, [0, 0]).get(n.category)!;
    row[0]++; row[1] += +(n.verdict === KEPT);
  }
  const rows = [...found].sort((a, b) => b[1][0] - a[1][0]), shown = rows.slice(0, 3).map(([name, [n, kept]]) => `${name.slice(0, 24)} ${n}${kept ? ` (${kept} kept)` : ""}`);
  return rows.length > 1 ? shown.join(" · ") + (rows.length > 3 ? ` · ${rows.length - 3} more kinds` : "") : "";
}

/** When each slot trained, over the last stretch of the session. */
function gantt(state: State): void {
  const c = state.campaign, own = c.spans.filter((s) => s[2] > (c.head.begun ?? 0)), spans = (own.length ? own : c.spans).filter((s) => s[3] > 0).slice(-400), box = byId("slots");
  box.hidden = !spans.length || !c.head.slots;
  if (box.hidden) return;
  const end = Math.max(...spans.map((s) => s[2])), begin = Math.max(Math.min(...spans.map((s) => s[2] - s[3])), end - 6 * 3600), W = 600;
  const free: number[] = [], bars: SVGElement[] = [], x = (t: number) => ((Math.max(t, begin) - begin) / (end - begin || 1)) * W;
  for (const [id, trial, stop, seconds] of [...spans].sort((a, b) => a[2] - a[3] - (b[2] - b[3]))) {
    let slot = free.findIndex((until) => until <= stop - seconds + 0.5);
    if (slot < 0) slot = free.length < c.head.slots ? free.push(0) - 1 : free.indexOf(Math.min(...free)); // events are late by moments
    free[slot] = stop;
    if (stop < begin) continue;
    const verdict = c.nodes.get(id)?.verdict ?? 1;
    bars.push(svg("rect", { x: x(stop - seconds), y: slot * 6 + 1, width: Math.max(1, x(stop) - x(stop - seconds) - 0.5), height: 4.5, class: `v${verdict}` }, svg("title", {}, `${pad(id)} trial ${trial}: ${duration(seconds)}`)));
  }
  const rows = Math.min(free.length, 8), busy = spans.reduce((sum, s) => sum + Math.min(s[3], s[2] - begin), 0) / ((end - begin || 1) * free.length);
  swap(box, h("span", { class: "quiet" }, `training, last ${duration(end - begin)}: slots ${Math.min(100, Math.round(100 * busy))} % busy`), svg("svg", { viewBox: `0 0 ${W} ${rows * 6}`, preserveAspectRatio: "none", role: "img", "aria-label": `training in ${free.length} slots`, height: rows * 6 }, bars) as any);
}
