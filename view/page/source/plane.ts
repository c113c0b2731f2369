// A canvas that pans, zooms and says what is under the pointer. Subclasses draw.

export interface Colours { [name: string]: string }
const REST = 160, LATE = 22; // ms: without a move it is at rest; between frames, from which on they come late
const NAMES = ["ink", "muted", "line", "panel", "kept", "parked", "failed", "flying", "setback", "band", "accent", "bg"];

export function colours(): Colours {
  const style = getComputedStyle(document.documentElement), found: Colours = {};
  for (const name of NAMES) found[name] = style.getPropertyValue(`--${name}`).trim();
  return found;
}

export abstract class Plane {
  width = 0; height = 0;
  kx = 1; ky = 1; tx = 0; ty = 0; // screen = data * k + t
  hover: number | null = null;
  frames: number[] = []; // milliseconds that drawing took, for the benchmark
  protected c: Colours = {};
  protected pen: CanvasRenderingContext2D;
  private wanted = false;
  private pointers = new Map<number, { x: number; y: number }>();
  private moved = 0;
  private movedAt = -1e9; private lastFrame = 0; private pace = 0; private rest = 0; // ms; pace: between frames in motion
  private still: { image: HTMLCanvasElement; kx: number; ky: number; tx: number; ty: number } | null = null;
  fitted = true; // follow the data until the person moves

  constructor(public canvas: HTMLCanvasElement) {
    this.pen = canvas.getContext("2d")!;
    new ResizeObserver(() => { this.resize(); }).observe(canvas);
    canvas.addEventListener("wheel", (e) => this.wheel(e), { passive: false });
    canvas.addEventListener("pointerdown", (e) => this.down(e));
    canvas.addEventListener("pointermove", (e) => this.move(e));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (e) => this.up(e as PointerEvent));
    canvas.addEventListener("pointerleave", () => this.hovering(null, 0, 0));
    canvas.addEventListener("dblclick", () => this.fit());
    this.recolour();
  }

  abstract paint(): void;
  abstract bounds(): [number, number, number, number]; // x0, y0, x1, y1 in data units
  abstract at(x: number, y: number): number | null; // the node there, in screen pixels
  abstract picked(id: number): void;
  abstract hovering(id: number | null, x: number, y: number): void;
  pressed(_x: number, _y: number): boolean { return false; } // a press that is no pan: the minimap's
  margins: [number, number, number, number] = [20, 20, 20, 20]; // top, right, bottom, left

  recolour(): void { this.c = colours(); this.draw(); }
  draw(): void {
    if (this.wanted) return;
    this.wanted = true;
    requestAnimationFrame(() => { this.wanted = false; this.now(); });
  }
  now(): void {
    if (!this.width || !this.height) return;
    const begun = performance.now(), ratio = devicePixelRatio || 1;
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.pen.clearRect(0, 0, this.width, this.height);
    if (!this.isLate(begun)) this.paint();
    else if (!this.stamp()) { this.paint(); this.keep(); }
    this.frames.push(performance.now() - begun);
    if (this.frames.length > 600) this.frames.splice(0, 300);
  }

  /** Whether somebody moves the picture and a busy machine cannot draw it at 45 frames a second: then the last one is
   * shifted and stretched instead, and drawn sharp again at rest. */
  private isLate(now: number): boolean {
    const gap = now - this.lastFrame, moving = now - this.movedAt < REST;
    this.lastFrame = now;
    if (!moving) { this.still = null; return false; }
    if (gap < REST) this.pace += (gap - this.pace) * 0.3;
    return this.still !== null || this.pace > LATE;
  }
  private keep(): void {
    const image = document.createElement("canvas");
    [image.width, image.height] = [this.canvas.width, this.canvas.height];
    image.getContext("2d")!.drawImage(this.canvas, 0, 0);
    this.still = { image, kx: this.kx, ky: this.ky, tx: this.tx, ty: this.ty };
  }
  private stamp(): boolean {
    if (!this.still) return false;
    const { image, kx, ky, tx, ty } = this.still, x = this.kx / kx, y = this.ky / ky;
    const [left, top, wide, high] = [this.tx - tx * x, this.ty - ty * y, this.width * x, this.height * y];
    const across = Math.min(left + wide, this.width) - Math.max(left, 0), down = Math.min(top + high, this.height) - Math.max(top, 0);
    if (x > 1.8 || across < 0.6 * this.width || down < 0.6 * this.height) return false; // too coarse or too little: a new one
    this.pen.drawImage(image, left, top, wide, high);
    return true;
  }
  private moving(): void {
    this.fitted = false;
    this.movedAt = performance.now();
    clearTimeout(this.rest);
    this.rest = window.setTimeout(() => this.draw(), REST + 20);
    this.draw();
  }
  resize(): void {
    const { clientWidth: w, clientHeight: h } = this.canvas, ratio = devicePixelRatio || 1;
    if (w === this.width && h === this.height && this.canvas.width === Math.round(w * ratio)) return;
    [this.width, this.height] = [w, h];
    [this.canvas.width, this.canvas.height] = [Math.round(w * ratio), Math.round(h * ratio)];
    if (this.fitted) this.fit(); else this.now();
  }
  fit(): void {
    this.fitted = true;
    const [x0, y0, x1, y1] = this.bounds(), [top, right, bottom, left] = this.margins;
    this.kx = (this.width - left - right) / (x1 - x0 || 1); // a value axis points upward: y1 < y0
    this.ky = (this.height - top - bottom) / (y1 - y0 || 1);
    this.tx = left - x0 * this.kx;
    this.ty = top - y0 * this.ky;
    this.fixed();
    this.draw();
  }
  /** A chance to bound or couple the scales after a fit. */
  fixed(): void {}
  zoom(factor: number, x = this.width / 2, y = this.height / 2): void {
    this.kx *= factor; this.ky *= factor;
    this.tx = x - (x - this.tx) * factor;
    this.ty = y - (y - this.ty) * factor;
    this.moving();
  }
  pan(dx: number, dy: number): void { this.tx += dx; this.ty += dy; this.moving(); }
  /** Bring a place (data units) into sight. */
  reveal(x: number, y: number): void {
    if (!this.width) return; // not on the screen: it will be fitted
    const px = x * this.kx + this.tx, py = y * this.ky + this.ty, m = this.fitted ? 6 : 40;
    if (px < m || py < m || px > this.width - m || py > this.height - m) this.pan(this.width / 2 - px, this.height / 2 - py);
  }

  private wheel(e: WheelEvent): void {
    e.preventDefault();
    if (e.shiftKey) { this.pan(-e.deltaY || -e.deltaX, 0); return; }
    this.zoom(Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0016)), e.offsetX, e.offsetY);
  }
  private down(e: PointerEvent): void {
    this.canvas.setPointerCapture(e.pointerId);
    this.moved = this.pressed(e.offsetX, e.offsetY) ? 99 : 0;
    this.pointers.set(e.pointerId, { x: e.offsetX, y: e.offsetY });
  }
  private move(e: PointerEvent): void {
    const before = this.pointers.get(e.pointerId);
    if (!before) { this.hovering(this.at(e.offsetX, e.offsetY), e.offsetX, e.offsetY); return; }
    if (this.moved === 99) { this.pressed(e.offsetX, e.offsetY); return; }
    const dx = e.offsetX - before.x, dy = e.offsetY - before.y;
    if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== e.pointerId)![1];
      const was = Math.hypot(before.x - other.x, before.y - other.y), is = Math.hypot(e.offsetX - other.x, e.offsetY - other.y);
      if (was > 0) this.zoom(is / was, (e.offsetX + other.x) / 2, (e.offsetY + other.y) / 2);
      this.moved = 50;
    } else if ((this.moved += Math.abs(dx) + Math.abs(dy)) > 4) this.pan(dx, dy);
    this.pointers.set(e.pointerId, { x: e.offsetX, y: e.offsetY });
  }
  private up(e: PointerEvent): void {
    this.pointers.delete(e.pointerId);
    if (e.type === "pointerup" && this.moved <= 4) {
      const id = this.at(e.offsetX, e.offsetY);
      if (id !== null) this.picked(id);
    }
  }

  // -- signs that all pictures share: never colour alone --------------------------------------------------------

  sign(x: number, y: number, verdict: number, size: number, promised: boolean): void {
    const p = this.pen, c = this.c;
    p.lineWidth = 1.4;
    p.beginPath();
    if (verdict === 4) {
      const s = size * 0.75;
      p.moveTo(x - s, y - s); p.lineTo(x + s, y + s); p.moveTo(x + s, y - s); p.lineTo(x - s, y + s);
      p.strokeStyle = c.failed; p.stroke();
      return;
    }
    if (promised) { p.moveTo(x, y - size * 1.3); p.lineTo(x + size * 1.3, y); p.lineTo(x, y + size * 1.3); p.lineTo(x - size * 1.3, y); p.closePath(); }
    else p.arc(x, y, size, 0, 7);
    if (verdict === 2) { p.fillStyle = c.kept; p.fill(); p.strokeStyle = c.ink; p.lineWidth = 1; p.stroke(); }
    else if (verdict === 1) { p.fillStyle = c.panel; p.fill(); p.strokeStyle = c.flying; p.lineWidth = 2; p.setLineDash([2.5, 2]); p.stroke(); p.setLineDash([]); }
    else { p.fillStyle = promised ? c.panel : c.parked; p.fill(); if (promised) { p.strokeStyle = c.setback; p.lineWidth = 1.8; p.stroke(); } }
  }
  ring(x: number, y: number, size: number, colour: string, dash: number[] = []): void {
    this.pen.beginPath();
    this.pen.arc(x, y, size, 0, 7);
    this.pen.strokeStyle = colour; this.pen.lineWidth = 2; this.pen.setLineDash(dash);
    this.pen.stroke(); this.pen.setLineDash([]);
  }
}
