// All experiments as rows: sorted, filtered like the views, columns chosen, copied as TSV. Only rows in sight are in the
// page, so that twenty thousand scroll as well as twenty.
import { Node } from "./data";
import { byId, h, swap } from "./dom";
import { SIGN, WORD, against, contract, dollars, duration, mark, pad, value } from "./format";
import { State } from "./state";

const HIGH = 27;
type Column = { name: string; of: (n: Node) => number | string | null; show: (n: Node) => string; right?: boolean; on: boolean; wide: number };

export class TableView {
  private columns: Column[];
  private sort = { name: "id", down: false };
  private rows: Node[] = [];
  private body = h("div", { class: "rows", tabindex: 0, role: "rowgroup", "aria-label": "experiments" });
  private space = h("div", { class: "space" });
  private header = h("div", { class: "row header", role: "row" });

  constructor(private state: State, private box: HTMLElement) {
    const c = state.campaign, vs = (n: Node, id: number | null) => { const o = id === null ? null : c.nodes.get(id); return n.mean === null || !o || o.mean === null || o.id === n.id ? null : c.loss(n.mean) - c.loss(o.mean); };
    const shownVs = (n: Node, id: number | null) => { const o = id === null ? null : c.nodes.get(id); return vs(n, id) === null ? "" : against(c, o!.mean!, n.mean!).text; };
    const column = (name: string, wide: number, of: Column["of"], show: Column["show"], more: Partial<Column> = {}): Column => ({ name, wide, of, show, on: true, ...more });
    const right = { right: true };
    this.columns = [
      column("id", 62, (n) => n.id, (n) => pad(n.id)),
      column("verdict", 96, (n) => n.verdict, (n) => `${SIGN[n.verdict]} ${WORD[n.verdict]}`),
      column("score", 92, (n) => (n.mean === null ? Infinity : c.loss(n.mean)), (n) => (n.mean === null ? "" : value(c, n.mean) + mark(n)), right),
      column("sd", 70, (n) => n.sd, (n) => (n.sd === null ? "" : value(c, n.sd)), { right: true, on: false }),
      column("trials", 52, (n) => n.values.length, (n) => (n.values.length ? `×${n.values.length}` : ""), right),
      column("vs parent", 90, (n) => vs(n, n.parent), (n) => shownVs(n, n.parent), right),
      column("vs main", 90, (n) => vs(n, c.head.incumbent), (n) => shownVs(n, c.head.incumbent), right),
      column("title", 0, (n) => n.title.toLowerCase(), (n) => n.title),
      column("category", 96, (n) => n.category, (n) => n.category),
      column("asked", 84, (n) => n.asked, (n) => n.asked, { on: false }),
      column("policy", 84, (n) => n.policy, (n) => n.policy, { on: false }),
      column("parent", 62, (n) => n.parent, (n) => (n.parent === null ? "" : pad(n.parent)), { on: false }),
      column("failure", 104, (n) => n.failure, (n) => n.failure, { on: false }),
      column("setback", 104, (n) => contract(n), (n) => contract(n), { on: false }),
      column("lines", 80, (n) => n.added - n.removed, (n) => (n.added || n.removed ? `+${n.added} −${n.removed}` : ""), right),
      column("time", 76, (n) => n.seconds, (n) => (n.seconds ? duration(n.seconds) : ""), right),
      column("cost", 72, (n) => n.cost, (n) => (n.cost === 0 ? "" : dollars(n.cost)), { right: true, on: false }),
    ];
    this.body.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.body);
    const choose = h("details", { class: "choose" }, h("summary", {}, "columns"), this.columns.map((col) => h("label", {}, h("input", { type: "checkbox", checked: col.on, onchange: () => { col.on = !col.on; this.renew(); } }), ` ${col.name}`)));
    const copied = h("span", { class: "quiet", role: "status" });
    swap(box, h("p", { class: "buttons" }, choose, h("button", { onclick: async () => { copied.textContent = await this.copy(); } }, "copy as TSV"), copied), h("div", { class: "table", role: "table" }, this.header, this.body));
    state.listen((what) => { if (box.hidden) return; if (what === "selection" || what === "marks") this.draw(); else this.renew(); });
  }

  renew(): void {
    const column = this.columns.find((col) => col.name === this.sort.name)!, sign = this.sort.down ? -1 : 1;
    const key = (n: Node) => column.of(n) ?? (typeof column.of(n) === "string" ? "" : Infinity);
    this.rows = this.state.shown().sort((a, b) => { const x = key(a), y = key(b); return (x < y ? -1 : x > y ? 1 : a.id - b.id) * sign; });
    this.box.style.setProperty("--columns", this.on.map((col) => (col.wide ? `${col.wide}px` : "minmax(140px, 1fr)")).join(" "));
    this.box.style.setProperty("--least", `${this.on.reduce((sum, col) => sum + (col.wide || 180) + 10, 24)}px`);
    swap(this.header, this.on.map((col) => h("span", { role: "columnheader", class: col.right ? "right" : "", "aria-sort": col.name !== this.sort.name ? "none" : this.sort.down ? "descending" : "ascending" },
      h("button", { class: "link", onclick: () => { this.sort = { name: col.name, down: this.sort.name === col.name && !this.sort.down }; this.renew(); } }, `${col.name}${col.name === this.sort.name ? (this.sort.down ? " ↓" : " ↑") : ""}`))));
    this.space.style.height = `${this.rows.length * HIGH}px`;
    this.draw();
  }
  private get on(): Column[] { return this.columns.filter((col) => col.on); }

  private draw(): void {
    if (this.box.hidden) return;
    const first = Math.max(0, Math.floor(this.body.scrollTop / HIGH) - 8), last = Math.min(this.rows.length, first + Math.ceil((this.body.clientHeight || 600) / HIGH) + 16);
    swap(this.space, this.rows.slice(first, last).map((node, i) => {
      const row = h("div", { class: `row v${node.verdict}${node.id === this.state.selected ? " selected" : ""}${this.state.marked.includes(node.id) ? " marked" : ""}`, role: "row", "data-id": node.id,
        onclick: (e: MouseEvent) => (e.shiftKey || e.ctrlKey || e.metaKey ? this.state.mark(node.id) : this.state.select(node.id)) },
        this.on.map((col) => h("span", { role: "cell", dir: "auto", class: col.right ? "right" : "", title: col.wide ? null : node.title }, col.show(node))));
      row.style.top = `${(first + i) * HIGH}px`;
      return row;
    }));
    if (!this.space.isConnected) swap(this.body, this.space);
  }
  reveal(id: number): void {
    const i = this.rows.findIndex((node) => node.id === id);
    if (i >= 0 && (i * HIGH < this.body.scrollTop || (i + 1) * HIGH > this.body.scrollTop + this.body.clientHeight)) this.body.scrollTop = (i - 5) * HIGH;
  }
  step(by: number): void { // the next row, in the table's own order
    const i = this.rows.findIndex((node) => node.id === this.state.selected), next = this.rows[Math.max(0, Math.min(this.rows.length - 1, i + by))];
    if (next) { this.state.select(next.id); this.reveal(next.id); }
  }
  tsv(): string {
    const cell = (text: string) => text.replace(/[\t\n\r]+/g, " ").replace(/−/g, "-");
    return [this.on.map((col) => col.name), ...this.rows.map((node) => this.on.map((col) => cell(col.show(node))))].map((row) => row.join("\t")).join("\n") + "\n";
  }
  private async copy(): Promise<string> {
    try { await navigator.clipboard.writeText(this.tsv()); return `${this.rows.length} rows copied`; } catch {
      const area = h("textarea", { value: this.tsv() });
      document.body.append(area); area.select();
      const done = document.execCommand("copy"); area.remove();
      return done ? `${this.rows.length} rows copied` : "the browser does not allow copying here";
    }
  }
}
