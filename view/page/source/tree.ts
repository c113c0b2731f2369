// The tree as Python laid it out: main's line through the middle, branches above and below it, folds as "+12".
import { FAILED, FLYING, Fold, KEPT, Node, PARKED } from "./data";
import { mark, value } from "./format";
import { Plane } from "./plane";
import { clip } from "./ratchet";
import { State } from "./state";

const MAP_W = 150, MAP_H = 76;

export class TreeView extends Plane {
  margins: [number, number, number, number] = [26, 90, 26, 40];
  private map: HTMLCanvasElement | null = null; // the minimap without its frame
  onFold: (fold: Fold) => void = () => {};
  constructor(canvas: HTMLCanvasElement, private state: State, private tip: (id: number | null, x: number, y: number, of: Plane) => void) { super(canvas); }

  private get places() { return this.state.campaign.places[this.state.folded ? 0 : 1]; }
  private get folds(): Fold[] { return this.state.folded ? this.state.campaign.folds : []; }
  private spot(id: number): [number, number] | null {
    const at = this.places.get(id);
    return at ? [at[0] * this.kx + this.tx, at[1] * this.ky + this.ty] : null;
  }
  bounds(): [number, number, number, number] {
    let right = 1, up = -1, down = 1;
    for (const [x, y] of this.places.values()) { if (x > right) right = x; if (y < up) up = y; if (y > down) down = y; }
    for (const f of this.folds) { right = Math.max(right, f.x); up = Math.min(up, f.y); down = Math.max(down, f.y); }
    return [0, up, right, down];
  }
  fixed(): void { // rows and columns keep a readable shape; what does not fit is a pan away
    this.map = null;
    const [x0, y0, x1, y1] = this.bounds();
    this.kx = Math.min(this.kx, 210); this.ky = Math.min(this.ky, 40);
    this.kx = Math.max(Math.min(this.kx, this.ky * 8), 0.5);
    const left = this.margins[3];
    if (this.kx > 56) this.kx = Math.max(56, Math.min(this.kx, (this.width - left - 10) / (x1 - x0 + 0.9))); // titles of the last column
    const titles = this.kx > 56 ? 0.9 * this.kx : 0;
    this.tx = Math.max(left, (this.width - (x1 - x0) * this.kx - titles) / 2) - x0 * this.kx;
    this.ty = (this.height - (y1 + y0) * this.ky) / 2;
  }
  /** Zoom in until titles can be read, around a node. */
  closer(id: number): void {
    const at = this.places.get(id);
    if (!at) return;
    this.fitted = false;
    this.kx = Math.max(this.kx, 110); this.ky = Math.max(this.ky, 24);
    this.tx = this.width / 2 - at[0] * this.kx; this.ty = this.height / 2 - at[1] * this.ky;
    this.draw();
  }

  paint(): void {
    const c = this.state.campaign;
    if (c.empty) return;
    this.edges();
    const small = this.ky < 5 || this.kx < 5, size = Math.max(1.5, Math.min(5.5, this.ky * 0.34, this.kx * 0.4));
    const kinds: Node[][] = [[], [], [], [], []], specks = [new Path2D(), new Path2D()], taken = new Set<number>();
    for (const [id, at] of this.places) {
      const node = c.nodes.get(id), x = at[0] * this.kx + this.tx, y = at[1] * this.ky + this.ty;
      if (!node || !this.state.visible(node) || x < -160 || x > this.width + 20 || y < -20 || y > this.height + 20) continue;
      if (small && this.isPlain(node)) { // specks, one stroke of the pen for all; two on the same pixel are one
        const failed = node.verdict === FAILED, a = Math.round(x), b = Math.round(y), key = (a * 8192 + b) * 2 + +failed;
        if (!taken.has(key)) { taken.add(key); specks[+failed].rect(a - 1, b - 1, 2, 2); }
      } else kinds[node.verdict].push(node);
    }
    this.pen.fillStyle = this.c.parked; this.pen.fill(specks[0]);
    this.pen.fillStyle = this.c.failed; this.pen.fill(specks[1]);
    for (const verdict of [3, 4, 1, 2]) for (const node of kinds[verdict]) this.dot(node, small, size);
    for (const fold of this.folds) this.fold(fold);
    if (this.kx > 30 && this.ky > 10) for (const list of kinds) for (const node of list) this.title(node);
    this.minimap();
  }

  private isPlain(node: Node): boolean {
    return (node.verdict === PARKED || node.verdict === FAILED) && !node.setback && node.id !== this.state.selected && node.id !== this.hover
      && !this.state.marked.includes(node.id) && this.state.matches(node.id);
  }
  private edges(): void {
    const p = this.pen, c = this.state.campaign, main = new Set(c.path(c.head.incumbent ?? 0));
    const plain = new Path2D(), trunk = new Path2D(), promised = new Path2D(), chosen = new Path2D();
    const tight = this.ky < (this.places.size > 1500 ? 9 : 3); // too small for bends and dashes to be seen, too many to draw them
    const taken = new Set<number>(); // then edges from pixel to pixel, each once
    const way = this.state.selected !== null && c.nodes.has(this.state.selected) ? new Set(c.path(this.state.selected)) : null;
    for (const [id, at] of this.places) {
      const node = c.nodes.get(id);
      if (!node || node.parent === null || !this.state.visible(node)) continue;
      const from = this.above(node.parent);
      if (!from) continue;
      const x0 = from[0] * this.kx + this.tx, y0 = from[1] * this.ky + this.ty, x1 = at[0] * this.kx + this.tx, y1 = at[1] * this.ky + this.ty;
      if (Math.max(x0, x1) < 0 || Math.min(x0, x1) > this.width || Math.max(y0, y1) < 0 || Math.min(y0, y1) > this.height) continue;
      if (tight) {
        const key = ((Math.round(x0) * 8192 + Math.round(y0)) * 64 + (Math.round(x1 - x0) & 63)) * 8192 + Math.round(y1);
        if (taken.has(key) && !main.has(id) && !node.setback && !way?.has(id)) continue;
        taken.add(key);
      }
      const paths = [main.has(id) ? trunk : node.setback ? promised : plain];
      if (way?.has(id)) paths.push(chosen);
      for (const path of paths) {
        path.moveTo(x0, y0);
        if (y0 === y1 || tight) path.lineTo(x1, y1);
        else { const bend = Math.min(this.kx * 0.5, 22); path.bezierCurveTo(x0 + bend, y0, x0 + bend * 0.4, y1, x0 + bend * 1.4, y1); path.lineTo(x1, y1); }
      }
    }
    for (const f of this.folds) {
      const from = this.places.get(f.at);
      if (!from) continue;
      const x0 = from[0] * this.kx + this.tx, y0 = from[1] * this.ky + this.ty, x1 = f.x * this.kx + this.tx, y1 = f.y * this.ky + this.ty;
      plain.moveTo(x0, y0);
      const bend = Math.min(this.kx * 0.5, 22);
      plain.bezierCurveTo(x0 + bend, y0, x0 + bend * 0.4, y1, x0 + bend * 1.4, y1); plain.lineTo(x1, y1);
    }
    const few = this.places.size < 1500;
    p.strokeStyle = this.c.line; p.lineWidth = 1; p.globalAlpha = few ? 1 : 0.7; p.stroke(plain); p.globalAlpha = 1;
    p.strokeStyle = this.c.setback; p.lineWidth = tight ? 1 : 1.6; if (!tight) p.setLineDash([5, 3]); p.stroke(promised); p.setLineDash([]);
    p.strokeStyle = this.c.kept; p.lineWidth = 3; p.stroke(trunk);
    if (way) { p.strokeStyle = this.c.accent; p.lineWidth = 1.6; p.stroke(chosen); }
  }
  /** Where a node's edge begins: its parent, or the fold that hides it. */
  private above(id: number): [number, number] | null {
    const at = this.places.get(id);
    if (at) return at;
    const fold = this.state.folded ? this.state.campaign.foldOf.get(id) : undefined;
    return fold ? [fold.x, fold.y] : null;
  }
  private dot(node: Node, small: boolean, size: number): void {
    const p = this.pen, [x, y] = this.spot(node.id)!, head = this.state.campaign.head;
    p.globalAlpha = this.state.matches(node.id) ? 1 : 0.12;
    if (small && node.verdict !== KEPT && node.verdict !== FLYING && !node.setback) {
      p.fillStyle = node.verdict === FAILED ? this.c.failed : this.c.parked;
      p.fillRect(x - 1.2, y - 1.2, 2.4, 2.4);
    } else {
      this.sign(x, y, node.verdict, node.verdict === KEPT ? size + 1.5 : size, !!node.setback);
      if (node.setback && size > 3) this.promise(node, x, y, size);
      if (node.closed && size > 3) { p.beginPath(); p.moveTo(x + size + 3, y - 5); p.lineTo(x + size + 3, y + 5); p.strokeStyle = this.c.muted; p.lineWidth = 2; p.stroke(); }
    }
    p.globalAlpha = 1;
    if (node.id === head.incumbent) this.ring(x, y, size + 5, this.c.kept);
    if (node.id === this.state.selected) this.ring(x, y, size + 5, this.c.accent);
    if (this.state.marked.includes(node.id)) this.ring(x, y, size + 7, this.c.setback, [3, 3]);
    if (node.id === this.hover) this.ring(x, y, size + 4, this.c.muted);
  }
  private promise(node: Node, x: number, y: number, size: number): void { // ✓ paid off, ▏closed, open stays empty
    const p = this.pen, state = node.setback![0];
    p.font = `${Math.max(8, size * 2)}px system-ui`; p.textAlign = "center"; p.textBaseline = "middle"; p.fillStyle = this.c.setback;
    if (state === "paid off") p.fillText("✓", x, y + 0.5);
    else if (state !== "open") { p.beginPath(); p.moveTo(x - size * 0.7, y); p.lineTo(x + size * 0.7, y); p.strokeStyle = this.c.setback; p.lineWidth = 2; p.stroke(); }
  }
  private fold(f: Fold): void {
    const nodes = f.nodes.filter((id) => id <= this.state.upto), p = this.pen;
    if (!nodes.length) return;
    const x = f.x * this.kx + this.tx, y = f.y * this.ky + this.ty;
    if (x < -40 || x > this.width + 40 || y < -20 || y > this.height + 20) return;
    const hits = this.state.filtering ? nodes.filter((id) => this.state.matches(id)).length : 0;
    p.globalAlpha = this.state.filtering && !hits ? 0.25 : 1;
    if ((this.ky < 7 || this.kx < 24) && !hits) { // no room for numbers: a mark that says there is more
      p.fillStyle = this.c.muted; p.fillRect(x - 4, y - 1.5, 8, 3);
      p.globalAlpha = 1;
      return;
    }
    const text = this.state.filtering && hits ? `${hits} of ${nodes.length}` : `+${nodes.length}`;
    p.font = "600 10px system-ui, sans-serif"; p.textAlign = "center"; p.textBaseline = "middle";
    const wide = p.measureText(text).width / 2 + 6, high = Math.max(6, Math.min(8, this.ky * 0.45));
    p.beginPath(); p.roundRect(x - wide, y - high, 2 * wide, 2 * high, high);
    p.fillStyle = this.c.panel; p.fill(); p.strokeStyle = this.c.parked; p.lineWidth = 1; p.stroke();
    p.fillStyle = this.c.muted; p.fillText(text, x, y + 0.5);
    p.globalAlpha = 1;
  }
  private title(node: Node): void {
    const p = this.pen, c = this.state.campaign, [x, y] = this.spot(node.id)!, leaf = !c.children.has(node.id);
    p.font = "11px system-ui, sans-serif"; p.textBaseline = "middle"; p.textAlign = "left";
    p.globalAlpha = this.state.matches(node.id) ? 1 : 0.15;
    const head = node.id === c.head.incumbent;
    if ((leaf || head) && this.kx > 56) {
      const text = clip(p, node.title, (leaf ? this.kx : this.kx * 2) - 32), at = x + 10 + (head ? 4 : node.closed ? 5 : 0);
      p.strokeStyle = this.c.panel; p.lineWidth = 4; p.lineJoin = "round"; p.strokeText(text, at, y); // a halo over the edges
      p.fillStyle = this.c.ink; p.fillText(text, at, y);
    }
    if (this.ky > 16 && node.mean !== null && (!leaf || head)) {
      p.fillStyle = this.c.muted; p.font = "10px system-ui, sans-serif"; p.textAlign = "center";
      const text = value(c, node.mean) + mark(node);
      if (this.kx > 56 || p.measureText(text).width < this.kx - 3) p.fillText(text, x, y - 13);
    }
    p.globalAlpha = 1;
  }

  // -- minimap --------------------------------------------------------------------------------------------------

  private get corner(): [number, number] { return [this.width - MAP_W - 10, this.height - MAP_H - 10]; }
  private scale(): [number, number, number, number] {
    const [x0, y0, x1, y1] = this.bounds();
    return [(MAP_W - 8) / (x1 - x0 || 1), (MAP_H - 8) / (y1 - y0 || 1), x0, y0];
  }
  private minimap(): void {
    if (this.fitted || this.width < 500) return;
    const p = this.pen, [cx, cy] = this.corner, [kx, ky, x0, y0] = this.scale();
    if (!this.map) {
      this.map = document.createElement("canvas");
      [this.map.width, this.map.height] = [MAP_W, MAP_H];
      const pen = this.map.getContext("2d")!;
      for (const [id, [x, y]] of this.places) {
        const node = this.state.campaign.nodes.get(id);
        pen.fillStyle = node?.verdict === KEPT ? this.c.kept : node?.verdict === FAILED ? this.c.failed : this.c.parked;
        pen.fillRect(4 + (x - x0) * kx - 0.7, 4 + (y - y0) * ky - 0.7, 1.5, 1.5);
      }
    }
    p.globalAlpha = 0.94; p.fillStyle = this.c.panel; p.fillRect(cx, cy, MAP_W, MAP_H); p.globalAlpha = 1;
    p.strokeStyle = this.c.line; p.lineWidth = 1; p.strokeRect(cx + 0.5, cy + 0.5, MAP_W, MAP_H);
    p.drawImage(this.map, cx, cy);
    const left = 4 + (-this.tx / this.kx - x0) * kx, top = 4 + (-this.ty / this.ky - y0) * ky;
    const w = (this.width / this.kx) * kx, hgt = (this.height / this.ky) * ky;
    p.save(); p.beginPath(); p.rect(cx, cy, MAP_W, MAP_H); p.clip();
    p.strokeStyle = this.c.accent; p.lineWidth = 1.5; p.strokeRect(cx + left, cy + top, w, hgt); p.restore();
  }
  pressed(x: number, y: number): boolean {
    const [cx, cy] = this.corner;
    if (this.fitted || this.width < 500 || x < cx || y < cy) return false;
    const [kx, ky, x0, y0] = this.scale();
    this.tx = this.width / 2 - ((x - cx - 4) / kx + x0) * this.kx;
    this.ty = this.height / 2 - ((y - cy - 4) / ky + y0) * this.ky;
    this.draw();
    return true;
  }

  // -- pointing -------------------------------------------------------------------------------------------------

  at(x: number, y: number): number | null {
    let best: number | null = null, near = 14 * 14;
    for (const [id, at] of this.places) {
      const d = (at[0] * this.kx + this.tx - x) ** 2 + (at[1] * this.ky + this.ty - y) ** 2;
      const node = this.state.campaign.nodes.get(id);
      if (d < near && node && this.state.visible(node)) { near = d; best = id; }
    }
    for (const [i, f] of this.folds.entries()) {
      const dx = f.x * this.kx + this.tx - x, dy = f.y * this.ky + this.ty - y;
      if (Math.abs(dx) < 22 && Math.abs(dy) < 10 && dx * dx + dy * dy < near) { near = dx * dx + dy * dy; best = -1 - i; }
    }
    return best;
  }
  picked(id: number): void { if (id < 0) this.onFold(this.folds[-1 - id]); else this.state.select(id); }
  hovering(id: number | null, x: number, y: number): void {
    if (id !== this.hover) { this.hover = id; this.draw(); }
    this.canvas.style.cursor = id === null ? "grab" : "pointer";
    this.tip(id !== null && id < 0 ? null : id, x, y, this);
  }
  relaid(): void { this.map = null; if (this.fitted) this.fit(); else this.draw(); }
  show(id: number): void {
    const at = this.above(id);
    if (at) this.reveal(at[0], at[1]);
  }
}
