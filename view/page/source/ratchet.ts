// The picture everybody knows, with what it never had: the noise band, error bars, and which steps are resolved.
import { FAILED, FLYING, KEPT, Node, PARKED } from "./data";
import { pad, ticks, value } from "./format";
import { Plane } from "./plane";
import { State } from "./state";

const MOST_EDGES = 1500, MOST_LABELS = 30;

export class RatchetView extends Plane {
  margins: [number, number, number, number] = [26, 24, 34, 68];
  private began = 0;
  constructor(canvas: HTMLCanvasElement, private state: State, private tip: (id: number | null, x: number, y: number, of: Plane) => void) { super(canvas); }

  x(node: Node): number {
    if (!this.state.hours) return node.id;
    return ((node.ended ?? this.state.campaign.head.updated ?? node.started) - (this.state.campaign.head.started ?? 0)) / 3600;
  }
  /** Losses grow downward in the data and upward on the screen for a metric to be minimised: y is the value itself. */
  private sy(v: number): number { return v * this.ky + this.ty; }
  private sx(v: number): number { return v * this.kx + this.tx; }

  bounds(): [number, number, number, number] {
    const c = this.state.campaign, nodes = this.state.seen();
    let low = Infinity, high = -Infinity, best = Infinity, kept = 0, right = 1e-3;
    for (const n of nodes) if (n.verdict === KEPT && n.mean !== null) { kept++; low = Math.min(low, n.mean); high = Math.max(high, n.mean); }
    for (const n of nodes) {
      right = Math.max(right, this.x(n));
      if (n.mean === null) continue;
      best = Math.min(best, c.loss(n.mean));
      if (kept < 2) { low = Math.min(low, n.mean); high = Math.max(high, n.mean); } // nothing to follow yet: show all
    }
    if (!Number.isFinite(low)) [low, high] = [0, 1];
    else { low = Math.min(low, c.loss(best)); high = Math.max(high, c.loss(best)); }
    const noise = c.head.noise ?? 0, room = Math.max((high - low) * 0.15, noise * 1.6, Math.abs(high) * 1e-6, 1e-9);
    return [-right * 0.008, high + room, right * 1.015, low - room];
  }

  paint(): void {
    const { campaign: c } = this.state, p = this.pen;
    if (c.empty) return;
    this.axes();
    const [top, right, bottom, left] = this.margins;
    p.save();
    p.beginPath(); p.rect(left, top - 8, this.width - left - right + 16, this.height - top - bottom + 16); p.clip();
    const nodes = this.state.seen();
    const steps = this.steps(nodes);
    this.band(steps);
    this.edges(nodes);
    this.line(steps);
    this.bars = new Path2D();
    const plain = this.crowd(nodes);
    p.strokeStyle = this.c.parked; p.lineWidth = 1.2; p.stroke(this.bars);
    for (const node of nodes) if (node.verdict !== KEPT && !plain.has(node)) this.dot(node);
    for (const node of nodes) if (node.verdict === KEPT) this.dot(node);
    p.restore();
    this.labels(nodes);
  }

  private steps(nodes: Node[]): Node[] {
    const advances = new Set<number>(this.state.campaign.head.advances);
    const steps = nodes.filter((n) => advances.has(n.id) && n.mean !== null);
    return steps.sort((a, b) => this.x(a) - this.x(b));
  }
  private end(): number {
    const last = this.state.seen().at(-1);
    return last ? Math.max(this.sx(this.x(last)), this.sx(0)) : 0;
  }
  private band(steps: Node[]): void { // where a single trial of main itself would fall, one sd each way
    const noise = this.state.campaign.head.noise, p = this.pen;
    if (noise == null || !steps.length) return;
    const trace = (shift: number, back: boolean) => {
      const points: [number, number][] = [];
      steps.forEach((n, i) => {
        const y = this.sy(n.mean! + shift), to = i + 1 < steps.length ? this.sx(this.x(steps[i + 1])) : this.end();
        points.push([this.sx(this.x(n)), y], [to, y]);
      });
      (back ? points.reverse() : points).forEach(([x, y], i) => (i || back ? p.lineTo(x, y) : p.moveTo(x, y)));
    };
    p.beginPath();
    trace(noise, false); trace(-noise, true);
    p.closePath();
    p.fillStyle = this.c.band;
    p.fill();
  }
  private line(steps: Node[]): void {
    const p = this.pen;
    p.beginPath();
    steps.forEach((n, i) => {
      const x = this.sx(this.x(n)), y = this.sy(n.mean!);
      if (i) p.lineTo(x, y); else p.moveTo(x, y);
      p.lineTo(i + 1 < steps.length ? this.sx(this.x(steps[i + 1])) : this.end(), y);
    });
    p.strokeStyle = this.c.kept; p.lineWidth = 2; p.stroke();
  }
  private edges(nodes: Node[]): void {
    const p = this.pen, c = this.state.campaign;
    const seen = nodes.filter((n) => { const x = this.sx(this.x(n)); return x > 0 && x < this.width; });
    p.beginPath();
    for (const n of seen.length <= MOST_EDGES ? seen : []) { // more are a hairball
      const parent = n.parent === null ? null : c.nodes.get(n.parent);
      if (!parent || parent.mean === null || n.mean === null) continue;
      p.moveTo(this.sx(this.x(parent)), this.clampY(parent.mean)); p.lineTo(this.sx(this.x(n)), this.clampY(n.mean));
    }
    p.strokeStyle = this.c.line; p.globalAlpha = nodes.length > 600 ? 0.25 : 0.55; p.lineWidth = 1; p.stroke(); p.globalAlpha = 1;
    if (this.state.selected !== null && c.nodes.has(this.state.selected)) { // the selection's way from the root
      p.beginPath();
      let pen = false;
      for (const id of c.path(this.state.selected)) {
        const n = c.node(id);
        if (n.mean === null) continue;
        if (pen) p.lineTo(this.sx(this.x(n)), this.clampY(n.mean)); else p.moveTo(this.sx(this.x(n)), this.clampY(n.mean));
        pen = true;
      }
      p.strokeStyle = this.c.accent; p.lineWidth = 1.5; p.stroke();
    }
  }
  /** Scores far outside stay in sight at the edge. */
  private clampY(v: number): number { return Math.min(this.height - this.margins[2] + 4, Math.max(this.margins[0] - 4, this.sy(v))); }
  private spot(node: Node): [number, number] {
    if (node.mean !== null) return [this.sx(this.x(node)), this.clampY(node.mean)];
    const c = this.state.campaign, below = node.verdict === FAILED ? null : (node.parent === null ? null : c.nodes.get(node.parent)?.mean);
    return [this.sx(this.x(node)), below == null ? this.height - this.margins[2] - 1 : this.clampY(below)];
  }
  private dot(node: Node): void {
    const p = this.pen, [x, y] = this.spot(node);
    if (x < -20 || x > this.width + 20) return;
    const dim = !this.state.matches(node.id);
    p.globalAlpha = dim ? 0.12 : 1;
    if (node.verdict === FAILED) { // a red tick at the foot
      p.beginPath(); p.moveTo(x, this.height - this.margins[2] - 7); p.lineTo(x, this.height - this.margins[2] + 3);
      p.strokeStyle = this.c.failed; p.lineWidth = 2; p.stroke();
    } else if (node.mean !== null && Math.abs(this.sy(node.mean) - y) > 1) { // out of the picture: an arrow
      const up = this.sy(node.mean) < y ? -1 : 1;
      p.beginPath(); p.moveTo(x - 4, y); p.lineTo(x + 4, y); p.lineTo(x, y + up * 5); p.closePath();
      p.fillStyle = this.c.parked; p.fill();
    } else {
      if (node.n > 1 && node.mean !== null) {
        const bar = new Path2D();
        this.bar(node, x, bar);
        p.strokeStyle = node.verdict === KEPT ? this.c.ink : this.c.parked; p.lineWidth = 1.2; p.stroke(bar);
      }
      const many = this.state.campaign.order.length > 400;
      this.sign(x, y, node.verdict, node.verdict === KEPT ? 5 : node.verdict === FLYING ? 4.5 : many ? 2 : 3, !!node.setback);
      if (node.verdict === KEPT && this.state.campaign.resolved(node.id) === false) { // a step that chance can make
        p.beginPath(); p.arc(x, y, 2.6, 0, 7); p.fillStyle = this.c.panel; p.fill();
      }
    }
    p.globalAlpha = 1;
    if (node.id === this.state.selected) this.ring(x, y, 9, this.c.accent);
    if (this.state.marked.includes(node.id)) this.ring(x, y, 11, this.c.setback, [3, 3]);
    if (node.id === this.hover) this.ring(x, y, 8, this.c.muted);
  }
  /** Ordinary parked and failed nodes in one stroke of the pen each: thousands of them, none special; two on the same
   * pixel are one. Returns those that it drew. */
  private crowd(nodes: Node[]): Set<Node> {
    const p = this.pen, many = nodes.length > 1500, size = this.state.campaign.order.length > 400 ? 2 : 3, drawn = new Set<Node>(), s = this.state;
    const taken = new Set<number>(), ticks = new Path2D(), foot = this.height - this.margins[2];
    p.beginPath();
    for (const node of nodes) {
      if ((node.verdict !== PARKED && node.verdict !== FAILED) || node.setback || node.id === s.selected || node.id === this.hover || s.marked.includes(node.id) || !s.matches(node.id)) continue;
      const x = this.sx(this.x(node)), out = x < -5 || x > this.width + 5;
      if (node.verdict === FAILED) { // a red tick at the foot
        drawn.add(node);
        if (!out && !taken.has(-Math.round(x) - 1e6)) { taken.add(-Math.round(x) - 1e6); ticks.moveTo(x, foot - 7); ticks.lineTo(x, foot + 3); }
        continue;
      }
      if (node.mean === null) continue;
      const y = this.sy(node.mean);
      if (this.clampY(node.mean) !== y) continue;
      drawn.add(node);
      if (out) continue;
      if (node.n > 1) this.bar(node, x, this.bars);
      if (many) { // squares cost a third of discs, and at this size look like them
        const a = Math.round(x), b = Math.round(y), key = a * 65536 + b;
        if (!taken.has(key)) { taken.add(key); p.rect(a - 1, b - 1, 3, 3); }
      } else { p.moveTo(x + size, y); p.arc(x, y, size, 0, 7); }
    }
    p.fillStyle = this.c.parked; p.fill();
    p.strokeStyle = this.c.failed; p.lineWidth = 2; p.stroke(ticks);
    return drawn;
  }
  private bars = new Path2D(); // of the crowd
  private bar(node: Node, x: number, path: Path2D): void { // the mean's standard error
    const noise = node.sd ?? this.state.campaign.head.noise;
    if (noise == null) return;
    const half = noise / Math.sqrt(node.n), a = this.sy(node.mean! - half), b = this.sy(node.mean! + half);
    path.moveTo(x, a); path.lineTo(x, b); path.moveTo(x - 3, a); path.lineTo(x + 3, a); path.moveTo(x - 3, b); path.lineTo(x + 3, b);
  }

  private labels(nodes: Node[]): void {
    const p = this.pen, taken: [number, number][] = [], c = this.state.campaign;
    p.font = "11px system-ui, sans-serif"; p.textAlign = "left"; p.textBaseline = "middle";
    const gains = nodes.filter((n) => n.verdict === KEPT && n.mean !== null && n.id).map((n) => [c.step(n.id)?.gain ?? 0, n] as const);
    gains.sort((a, b) => b[0] - a[0]);
    for (const [, n] of gains.slice(0, MOST_LABELS)) { // the largest gains first, as long as there is room
      const [x, y] = this.spot(n);
      if (x < this.margins[3] || x > this.width - 60 || y < this.margins[0] || y > this.height - this.margins[2]) continue;
      // Labels run up at 30 degrees: what counts is the distance across and along that line.
      if (taken.some(([a, b]) => Math.abs((a - x) * 0.5 + (b - y) * 0.866) < 13 && Math.abs((a - x) * 0.866 - (b - y) * 0.5) < 260)) continue;
      const room = Math.min((this.width - x) / 0.87, (y - 4) / 0.5) - 14;
      if (room < 40) continue;
      taken.push([x, y]);
      const text = clip(p, n.title.slice(0, 45), room);
      p.save();
      p.translate(x + 6, y - 7); p.rotate(-Math.PI / 6);
      p.globalAlpha = this.state.matches(n.id) ? 1 : 0.2;
      p.fillStyle = c.resolved(n.id) === false ? this.c.muted : this.c.kept; // hollow and grey: not resolved
      p.strokeStyle = this.c.panel; p.lineWidth = 3; p.lineJoin = "round"; p.strokeText(text, 0, 0); // a halo over the dots
      p.fillText(text, 0, 0);
      p.restore();
    }
  }

  private axes(): void {
    const p = this.pen, [top, right, bottom, left] = this.margins, c = this.state.campaign;
    const x0 = (left - this.tx) / this.kx, x1 = (this.width - right - this.tx) / this.kx;
    const ya = (top - this.ty) / this.ky, yb = (this.height - bottom - this.ty) / this.ky;
    p.font = "11px system-ui, sans-serif"; p.fillStyle = this.c.muted; p.strokeStyle = this.c.line; p.lineWidth = 1;
    p.globalAlpha = 0.6;
    p.beginPath();
    const ys = ticks(Math.min(ya, yb), Math.max(ya, yb), this.height / 60), xs = ticks(x0, x1, this.width / 110);
    for (const v of ys) { const y = Math.round(this.sy(v)) + 0.5; p.moveTo(left, y); p.lineTo(this.width - right, y); }
    p.stroke();
    p.globalAlpha = 1;
    p.textAlign = "right"; p.textBaseline = "middle";
    const digits = ys.length > 1 ? Math.max(0, Math.min(8, -Math.floor(Math.log10(ys[1] - ys[0]) + 1e-9))) : 4;
    for (const v of ys) p.fillText(v.toFixed(digits).replace("-", "−"), left - 8, this.sy(v));
    p.textAlign = "center"; p.textBaseline = "top";
    for (const v of xs) if (this.state.hours || Number.isInteger(v)) p.fillText(this.state.hours ? String(+v.toPrecision(4)) : String(v), this.sx(v), this.height - bottom + 8);
    p.textAlign = "right";
    p.fillText(this.state.hours ? "hours" : "experiment", this.width - right, this.height - 14);
    p.textAlign = "left";
    p.fillText(`${c.metric} (${c.min ? "lower" : "higher"} is better)`, left, 4);
  }

  at(x: number, y: number): number | null {
    let best: number | null = null, near = 14 * 14;
    for (const node of this.state.campaign.order) {
      if (!this.state.visible(node) || !this.state.matches(node.id)) continue;
      const [a, b] = this.spot(node), d = (a - x) ** 2 + (b - y) ** 2 - (node.verdict === KEPT ? 30 : 0);
      if (d < near) { near = d; best = node.id; }
    }
    return best;
  }
  picked(id: number): void { this.state.select(id); }
  hovering(id: number | null, x: number, y: number): void {
    if (id !== this.hover) { this.hover = id; this.draw(); }
    this.tip(id, x, y, this);
  }
  describe(): string {
    const c = this.state.campaign, h = c.head;
    if (c.empty) return "nothing yet";
    return `Ratchet view: ${c.metric} of ${c.order.length - 1} experiments; main went from ${value(c, c.node(0).mean)} to ${value(c, c.node(h.incumbent).mean)}, node ${pad(h.incumbent)}. Arrow keys walk the tree.`;
  }
}

export function clip(pen: CanvasRenderingContext2D, text: string, room: number): string {
  if (pen.measureText(text).width <= room) return text;
  let n = text.length;
  while (n > 1 && pen.measureText(text.slice(0, n) + "…").width > room) n = Math.floor(n * 0.9);
  return text.slice(0, n) + "…";
}
