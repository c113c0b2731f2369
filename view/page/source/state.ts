// What the person looks at: one selection for all views, filter, time, marks for comparing. Views listen; nobody polls.
import { Campaign, FAILED, FLYING, KEPT, Node, PARKED } from "./data";

export interface Filter {
  text: string; verdicts: Set<number>; operator: string; category: string; policy: string; low: number | null; high: number | null;
}
export const ALL = () => new Set([FLYING, KEPT, PARKED, FAILED]);
export type What = "data" | "selection" | "filter" | "time" | "marks" | "look";

export class State {
  selected: number | null = null;
  marked: number[] = []; // for comparing, at most six
  filter: Filter = { text: "", verdicts: ALL(), operator: "", category: "", policy: "", low: null, high: null };
  upto = Infinity; // the last experiment that the scrubber lets through
  folded = true;
  hours = false; // x axis of the ratchet view
  private listeners: ((what: What) => void)[] = [];
  private passing: Set<number> | null = null; // ids that the filter lets through; null = all

  constructor(public campaign: Campaign) {}

  listen(listener: (what: What) => void): void { this.listeners.push(listener); }
  tell(what: What): void {
    if (what === "data" || what === "filter") this.passing = this.passes();
    for (const listener of this.listeners) listener(what);
  }
  select(id: number | null): void {
    if (id !== null && !this.campaign.nodes.has(id)) return;
    this.selected = id;
    this.tell("selection");
  }
  mark(id: number): void {
    this.marked = this.marked.includes(id) ? this.marked.filter((m) => m !== id) : [...this.marked, id].slice(-6);
    this.tell("marks");
  }
  get filtering(): boolean { return this.passing !== null; }
  matches(id: number): boolean { return this.passing === null || this.passing.has(id); }
  visible(node: Node): boolean { return node.id <= this.upto; }
  /** Nodes that are there at the scrubber's time, by number. */
  seen(): Node[] { return this.upto === Infinity ? this.campaign.order : this.campaign.order.filter((node) => this.visible(node)); }
  /** Of those, the nodes that pass the filter. */
  shown(): Node[] { return this.campaign.order.filter((node) => this.visible(node) && this.matches(node.id)); }

  private passes(): Set<number> | null {
    const f = this.filter, words = f.text.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length && f.verdicts.size === 4 && !f.operator && !f.category && !f.policy && f.low === null && f.high === null) return null;
    const passing = new Set<number>();
    for (const node of this.campaign.order) {
      const text = words.length ? `${String(node.id).padStart(4, "0")} ${node.title} ${node.category} ${node.failure}`.toLowerCase() : "";
      if (
        f.verdicts.has(node.verdict) && words.every((word) => text.includes(word)) &&
        (!f.operator || node.asked === f.operator) && (!f.category || node.category === f.category) &&
        (!f.policy || node.policy === f.policy) && (f.low === null || (node.mean !== null && node.mean >= f.low)) &&
        (f.high === null || (node.mean !== null && node.mean <= f.high))
      ) passing.add(node.id);
    }
    return passing;
  }
}
