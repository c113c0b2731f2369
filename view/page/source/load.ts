// Where the campaign comes from: a server that goes on telling, or the file that the page itself is.
import { Campaign, Changes, Places, Texts } from "./data";

export async function load(): Promise<Campaign> {
  const inside = document.getElementById("campaign");
  if (inside) { const snapshot = JSON.parse(inside.textContent!); return new Campaign(snapshot, new FileTexts(snapshot.summary), false); }
  const reply = await fetch("api/campaign");
  if (!reply.ok) throw new Error((await reply.json().catch(() => ({}))).error ?? `the server answered ${reply.status}`);
  return new Campaign(await reply.json(), new LiveTexts(), true);
}

/** Events from the server; after a gap the browser tells the last one it saw, and gets what changed since. */
export function follow(campaign: Campaign, changed: (changes: Changes) => void, moved: (places: Places) => void, state: (words: string) => void): void {
  let source: EventSource, last = Date.now();
  const open = () => {
    source = new EventSource(`api/events?after=${campaign.number}`);
    source.onopen = () => { last = Date.now(); state(""); };
    source.onerror = () => { state("not connected: trying again"); if (source.readyState === EventSource.CLOSED) setTimeout(open, 2000); };
    source.addEventListener("delta", (e) => { last = Date.now(); changed(JSON.parse((e as MessageEvent).data)); });
    source.addEventListener("places", (e) => { last = Date.now(); moved(JSON.parse((e as MessageEvent).data)); });
    source.addEventListener("beat", () => { last = Date.now(); });
    source.addEventListener("anew", () => location.reload()); // another campaign began here
  };
  open();
  const wake = () => { if (Date.now() - last > 40_000) { last = Date.now(); source.close(); open(); } }; // slept, or a dead line
  document.addEventListener("visibilitychange", () => { if (!document.hidden) wake(); });
  setInterval(wake, 20_000);
}

class LiveTexts implements Texts {
  private kept = new Map<number, { at: number; detail: Promise<any> }>();
  private async get(path: string): Promise<any> {
    const reply = await fetch(path), body = await reply.json();
    if (!reply.ok) throw new Error(body.error);
    return body;
  }
  detail(id: number): Promise<any> {
    const known = this.kept.get(id);
    if (known && Date.now() - known.at < 2000) return known.detail;
    const detail = this.get(`api/node/${id}`);
    this.kept.set(id, { at: Date.now(), detail });
    return detail;
  }
  files(id: number): Promise<Record<string, string>> { return this.get(`api/files/${id}`); }
  summary(): Promise<any> { return this.get("api/summary"); }
}

/** Texts inside the file: blocks of nodes, deflated and in base64, unpacked when one of their nodes is looked at. */
class FileTexts implements Texts {
  private blocks = new Map<number, Promise<any>>();
  private size = Number(document.getElementById("campaign")!.dataset.block);
  constructor(private said: any) {}
  private block(id: number): Promise<any> {
    const number = Math.floor(id / this.size), known = this.blocks.get(number);
    if (known) return known;
    const packed = document.getElementById(`block-${number}`)?.textContent ?? "";
    const bytes = Uint8Array.from(atob(packed.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const found = new Response(stream).json();
    this.blocks.set(number, found);
    return found;
  }
  private async entry(id: number): Promise<any> {
    const found = (await this.block(id))[id];
    if (!found) throw new Error("it is not in this file");
    return found;
  }
  async detail(id: number): Promise<any> { return (await this.entry(id)).detail; }
  /** Each node holds its line edits against its parent; the root holds its files. */
  async files(id: number): Promise<Record<string, string>> {
    const chain: any[] = [];
    for (let at: number | null = id; at !== null; ) {
      const entry: any = await this.entry(at);
      chain.push(entry);
      if (entry.files) break;
      if (!entry.edits) return {};
      at = entry.base;
    }
    const files: Record<string, string> = { ...(chain.pop()?.files ?? {}) };
    for (const { edits } of chain.reverse()) {
      for (const [path, list] of Object.entries(edits as Record<string, [number, number, string[]][]>)) {
        const lines = (files[path] ?? "").split("\n");
        for (const [from, gone, added] of list) lines.splice(from, gone, ...added);
        files[path] = lines.join("\n");
      }
    }
    return files;
  }
  async summary(): Promise<any> { return this.said; }
}
