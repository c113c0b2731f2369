// A campaign in the browser: the columns that Python sends as nodes, kept up to date by deltas. Draws nothing.

export const FLYING = 1, KEPT = 2, PARKED = 3, FAILED = 4;
export type Contract = [string, number, number, number, number, number | null, number | null, number]; // see COLUMNS in page_data.py

export interface Node {
  id: number; parent: number | null; verdict: number; title: string; category: string; asked: string;
  mean: number | null; sd: number | null; n: number; values: number[]; by: string; seconds: number;
  started: number; ended: number | null; added: number; removed: number; failure: string; expected: number;
  setback: Contract | null; closed: number; policy: string; cost: number | null;
}
const COLUMNS = "id,parent,verdict,title,category,asked,mean,sd,n,values,by,seconds,started,ended,added,removed,failure,expected,setback,closed,policy,cost";
/** A row as a node. Written out, because objects whose many properties are set by name are slow ever after. */
const nodeOf = (r: any[]): Node => ({
  id: r[0], parent: r[1], verdict: r[2], title: r[3], category: r[4], asked: r[5], mean: r[6], sd: r[7], n: r[8], values: r[9], by: r[10], seconds: r[11],
  started: r[12], ended: r[13], added: r[14], removed: r[15], failure: r[16], expected: r[17], setback: r[18], closed: r[19], policy: r[20], cost: r[21],
});
export interface Fold { at: number; x: number; y: number; nodes: number[] }
export interface Head { [key: string]: any }
export interface Changes {
  number: number; rows: any[][]; spans: number[][]; head: Head; layout?: number[][];
}
export interface Places { layout: number[][] }
export interface Snapshot extends Changes {
  name: string; columns: string[]; machine: any; summary?: any; others?: Course[]; controls?: boolean;
}
export interface Course { name: string; points: number[][] } // [experiments, hours, dollars, value]
export interface Texts { // what only one node needs
  detail(id: number): Promise<any>;
  files(id: number): Promise<Record<string, string>>;
  summary(): Promise<any>;
}

export class Campaign {
  name: string; machine: any; head: Head = {}; number = 0;
  nodes = new Map<number, Node>();
  order: Node[] = []; // by id
  places: Map<number, [number, number]>[] = [new Map(), new Map()]; // folded, unfolded
  folds: Fold[] = [];
  foldOf = new Map<number, Fold>(); // of the nodes that are folded away
  spans: number[][] = []; // [node, trial, end, seconds]
  others: Course[];
  choices = { asked: new Set<string>(), category: new Set<string>(), policy: new Set<string>() }; // that there are to filter by
  private below: Map<number, number[]> | null = null;
  private rank = new Map<number, number>(); // of main's nodes among main's steps

  constructor(snapshot: Snapshot, public texts: Texts, public live: boolean) {
    this.name = snapshot.name;
    if (snapshot.columns.join() !== COLUMNS) throw new Error("the page and its server are of different versions: load it again");
    this.machine = snapshot.machine;
    this.others = snapshot.others ?? [];
    this.apply(snapshot);
  }

  apply(changes: Changes): void {
    let fresh = false;
    for (const row of changes.rows) {
      const known = this.nodes.get(row[0]), node = known ? Object.assign(known, nodeOf(row)) : nodeOf(row);
      if (!known) { fresh = true; this.nodes.set(node.id, node); }
      for (const key of ["asked", "category", "policy"] as const) if (node[key]) this.choices[key].add(node[key]);
    }
    if (fresh) this.order = [...this.nodes.values()].sort((a, b) => a.id - b.id);
    if (changes.rows.length) this.below = null;
    this.spans.push(...changes.spans);
    this.head = { ...this.head, ...changes.head };
    if (changes.head.advances) this.rank = new Map(this.head.advances.map((id: number, i: number) => [id, i]));
    this.number = changes.number;
    if (changes.layout) this.place(changes as Places);
    for (const node of changes.rows.length < 50 ? changes.rows : []) this.placeForNow(this.nodes.get(node[0])!);
  }

  /** Take in places: of nodes, and of folds (-1 - the node they hang off). */
  place(changes: Places): void {
    const folds = new Map(this.folds.map((fold) => [fold.at, fold]));
    changes.layout.forEach((flat, i) => {
      for (let k = 0; k < flat.length; k += 3) {
        const [id, x, y] = [flat[k], flat[k + 1], flat[k + 2]];
        if (id < 0) { if (x < 0) folds.delete(-1 - id); else folds.set(-1 - id, { at: -1 - id, x, y, nodes: [] }); }
        else if (x < 0) this.places[i].delete(id);
        else this.places[i].set(id, [x, y]);
      }
    });
    for (const fold of folds.values()) fold.nodes = [];
    for (const node of this.order) { // parents come first: what has no place is in the fold above it
      if (this.places[0].has(node.id) || node.parent === null) continue;
      const fold = folds.get(node.parent) ?? this.foldOf.get(node.parent);
      if (fold) { fold.nodes.push(node.id); this.foldOf.set(node.id, fold); }
    }
    for (const id of this.foldOf.keys()) if (this.places[0].has(id)) this.foldOf.delete(id);
    this.folds = [...folds.values()];
  }

  get empty(): boolean { return !this.order.length; }
  get min(): boolean { return this.head.metric?.direction !== "max"; }
  get metric(): string { return this.head.metric?.name ?? ""; }
  loss(value: number): number { return this.min ? value : -value; }
  node(id: number): Node { return this.nodes.get(id)!; }

  get children(): Map<number, number[]> {
    if (!this.below) {
      this.below = new Map();
      for (const node of this.order) {
        if (node.parent === null) continue;
        const list = this.below.get(node.parent);
        if (list) list.push(node.id); else this.below.set(node.parent, [node.id]);
      }
    }
    return this.below;
  }

  path(id: number): number[] {
    const path = [id];
    for (let at = this.node(id); at.parent !== null; at = this.node(at.parent)) path.push(at.parent);
    return path.reverse();
  }

  /** Main's node as of an experiment's number, or now. */
  mainAt(upto: number): Node | undefined {
    const advances: number[] = this.head.advances ?? [];
    for (let i = advances.length - 1; i >= 0; i--) if (advances[i] <= upto) return this.nodes.get(advances[i]);
    return undefined;
  }

  /** How much better than the node main moved from, and the sd of that difference; null where it is not known. */
  step(id: number): { gain: number; sd: number | null; from: number } | null {
    const i = this.rank.get(id) ?? 0;
    if (i < 1) return null;
    const before = this.node(this.head.advances[i - 1]), after = this.node(id);
    if (before.mean === null || after.mean === null) return null;
    const noise = this.head.noise;
    const sd = noise == null ? null : noise * Math.sqrt(1 / before.n + 1 / after.n);
    return { gain: this.loss(before.mean) - this.loss(after.mean), sd, from: before.id };
  }

  /** Whether a step of main is larger than chance makes it (95 %); null where the noise is not known. */
  resolved(id: number): boolean | null {
    const step = this.step(id);
    return step === null || step.sd === null ? null : step.gain > 1.96 * step.sd;
  }

  private placeForNow(node: Node): void { // until the layout comes, a moment later
    for (const places of this.places) {
      const at = node.parent === null ? undefined : places.get(node.parent);
      if (!places.has(node.id) && at) places.set(node.id, [at[0] + 1, at[1] + 1]);
    }
  }
}
