// Two to six nodes side by side, differences only; and campaigns against each other over experiments, hours or dollars.
import { Node } from "./data";
import * as diff from "./diff";
import { h, said, svg, swap } from "./dom";
import { SIGN, WORD, contract, dollars, duration, mark, pad, ticks, value } from "./format";
import { State } from "./state";

export class CompareView {
  private axis = 0;
  constructor(private state: State, private box: HTMLElement) {
    state.listen((what) => { if (!box.hidden && (what === "marks" || what === "data")) this.draw(); });
  }
  async draw(): Promise<void> {
    const nodes = this.state.marked.map((id) => this.state.campaign.nodes.get(id)).filter((n): n is Node => !!n);
    swap(this.box, nodes.length < 2 ? h("p", { class: "quiet" }, "Mark two to six nodes to compare them: shift-click a row of the table, press m on a node, or use the button in its detail.") : this.nodes(nodes), this.campaigns());
    if (nodes.length >= 2) await this.files(nodes);
  }

  private nodes(nodes: Node[]): HTMLElement {
    const c = this.state.campaign;
    const rows: [string, (n: Node) => string][] = [
      ["verdict", (n) => `${SIGN[n.verdict]} ${WORD[n.verdict]} ${n.failure}`], [c.metric, (n) => (n.mean === null ? "–" : `${value(c, n.mean)}${mark(n)}`)],
      ["sd", (n) => value(c, n.sd)], ["trials", (n) => n.values.map((v) => value(c, v)).join(", ")], ["parent", (n) => (n.parent === null ? "–" : pad(n.parent))],
      ["category", (n) => n.category], ["asked", (n) => n.asked], ["policy", (n) => n.policy], ["setback", contract], ["lines", (n) => `+${n.added} −${n.removed}`],
      ["time", (n) => duration(n.seconds)], ["cost", (n) => dollars(n.cost)], ["forecast", (n) => (n.expected ? value(c, n.expected) : "–")],
    ];
    const differ = rows.filter(([, of]) => new Set(nodes.map(of)).size > 1);
    return h("section", {}, h("h3", {}, "Nodes: what differs"), h("div", { class: "wide" }, h("table", { class: "compare" },
      h("thead", {}, h("tr", {}, h("th", {}), nodes.map((n) => h("th", { scope: "col" }, h("button", { class: "link", onclick: () => this.state.select(n.id) }, pad(n.id)), " ", said(n.title), " ", h("button", { class: "link", "aria-label": `take ${pad(n.id)} out`, onclick: () => this.state.mark(n.id) }, "×"))))),
      h("tbody", {}, differ.map(([name, of]) => h("tr", {}, h("th", { scope: "row" }, name), nodes.map((n) => h("td", { dir: "auto" }, of(n)))))))), h("div", { id: "compared" }));
  }
  private async files(nodes: Node[]): Promise<void> {
    const [first, last] = [nodes[0], nodes[nodes.length - 1]], c = this.state.campaign;
    const [a, b] = await Promise.all([c.texts.files(first.id), c.texts.files(last.id)]);
    const box = this.box.querySelector("#compared");
    if (!box) return;
    const paths = [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((path) => a[path] !== b[path]);
    swap(box, h("h3", {}, `Files: from ${pad(first.id)} to ${pad(last.id)}`), paths.length ? paths.map((path) => diff.render(path, a[path] ?? "", b[path] ?? "", innerWidth > 900)) : h("p", { class: "quiet" }, "no difference that is known"));
  }

  /** Best so far of this campaign and those given beside it. */
  private campaigns(): HTMLElement | null {
    const courses = this.state.campaign.others, c = this.state.campaign;
    if (!courses.length) return null;
    const W = 720, H = 260, left = 64, bottom = 30, axis = this.axis, all = courses.flatMap((o) => o.points);
    const best = (points: number[][]) => { let b = Infinity; return points.map((p) => [p[axis], (b = Math.min(b, c.loss(p[3])))] as const); };
    const right = Math.max(1e-9, ...all.map((p) => p[axis])), losses = all.map((p) => c.loss(p[3])), low = Math.min(...losses), high = Math.max(...losses);
    const x = (v: number) => left + (v / right) * (W - left - 12), y = (v: number) => 10 + ((high - v) / (high - low || 1)) * (H - bottom - 16);
    const lines = courses.map((o, i) => {
      const points = best(o.points);
      return svg("path", { class: `course c${i % 6}`, d: points.map(([a, b], k) => (k ? `H${x(a).toFixed(1)}V${y(b).toFixed(1)}` : `M${x(a).toFixed(1)} ${y(b).toFixed(1)}`)).join("") });
    });
    const grid = [...ticks(low, high, 5).map((v) => [svg("line", { x1: left, x2: W - 12, y1: y(v), y2: y(v), class: "grid" }), svg("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, value(c, c.loss(v)))]),
      ...ticks(0, right, 6).map((v) => [svg("text", { x: x(v), y: H - 8, "text-anchor": "middle" }, String(+v.toPrecision(3)))])].flat();
    return h("section", {}, h("h3", {}, "Campaigns: best so far"), h("p", { class: "buttons" }, "against ", ["experiments", "hours", "dollars"].map((name, i) => h("button", { "aria-pressed": String(i === axis), onclick: () => { this.axis = i; this.draw(); } }, name))),
      h("figure", { class: "courses" }, svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "best so far of each campaign" }, grid, lines) as any,
        h("figcaption", {}, courses.map((o, i) => h("span", { class: `key c${i % 6}` }, `${o.name}: ${value(c, o.points.length ? c.loss(Math.min(...o.points.map((p) => c.loss(p[3])))) : null)}`)))));
  }
}
