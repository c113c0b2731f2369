// One node: what was tried, what was promised and measured, how it was trained, what changed, what it printed.
import { FAILED, FLYING, Node } from "./data";
import * as diff from "./diff";
import { byId, h, said, svg, swap } from "./dom";
import { MARKS, SIGN, WORD, against, change, contract, dollars, duration, mark, pad, value } from "./format";
import { State } from "./state";

type Base = "parent" | "main" | "marked";

export class DetailPane {
  private side = false;
  private base: Base = "parent";
  private shown: number | null = null;
  private turn = 0; // answers to older questions are dropped
  constructor(private state: State, private pane: HTMLElement, private actions: (node: Node) => HTMLElement | null) {
    state.listen((what) => { if (what === "selection" || (what === "data" && this.stale())) this.show(); });
  }
  /** Whether what is shown has changed: it is in flight, was trained again, its line was parked, its contract went on. */
  private stale(): boolean {
    const node = this.shown === null ? undefined : this.state.campaign.nodes.get(this.shown);
    return !!node && (node.ended == null || this.seen !== sign(node));
  }
  private seen = "";

  async show(): Promise<void> {
    const { campaign: c, selected } = this.state, turn = ++this.turn;
    document.body.classList.toggle("has-detail", selected !== null);
    if (selected === null) { this.shown = null; return; }
    const node = c.node(selected), fresh = this.shown !== selected;
    this.shown = selected;
    this.seen = sign(node);
    const rest = h("div", { class: "rest", "aria-busy": "true" }, h("p", { class: "quiet" }, "reading …"));
    if (fresh) { swap(this.pane, this.top(node), rest); this.pane.scrollTop = 0; }
    try {
      const detail = await c.texts.detail(selected);
      if (turn !== this.turn) return;
      swap(this.pane, this.top(node), this.rest(node, detail));
      await Promise.all([this.curves(node, detail), this.changes(node)]);
    } catch (error) {
      if (turn === this.turn) swap(rest, h("p", { class: "quiet" }, `this could not be read: ${(error as Error).message}`));
    }
  }

  private top(node: Node): HTMLElement {
    const c = this.state.campaign, incumbent = node.id === c.head.incumbent;
    const link = (id: number, words: string) => h("button", { class: "link", onclick: () => this.state.select(id) }, words);
    return h("header", {},
      h("p", { class: "crumbs" },
        h("span", { class: `verdict v${node.verdict}` }, `${SIGN[node.verdict]} ${incumbent ? "main is here" : WORD[node.verdict]}${node.failure ? `: ${node.failure}` : ""}`),
        ` ${pad(node.id)} `, node.parent !== null && ["from ", link(node.parent, pad(node.parent))],
        node.closed ? " · line parked by hand" : "",
        h("button", { class: "close", "aria-label": "close the detail", onclick: () => this.state.select(null) }, "×")),
      h("h2", { dir: "auto" }, node.title),
      h("p", { class: "buttons" },
        h("button", { onclick: () => this.state.mark(node.id), "aria-pressed": String(this.state.marked.includes(node.id)) }, this.state.marked.includes(node.id) ? "marked to compare" : "mark to compare"),
        this.actions(node)));
  }

  private rest(node: Node, d: any): HTMLElement {
    return h("div", { class: "rest" }, this.score(node, d), this.idea(node, d), this.failure(d), h("div", { id: "curves" }),
      h("section", { id: "changes" }), this.calls(d), this.log(d), this.git(node, d));
  }

  private score(node: Node, d: any): HTMLElement | null {
    const c = this.state.campaign, facts: [string, any][] = [];
    if (node.mean !== null) {
      facts.push([c.metric, h("strong", {}, `${value(c, node.mean)}${mark(node)}${node.sd !== null ? ` ± ${value(c, node.sd)}` : ""} over ${node.n} trial${node.n > 1 ? "s" : ""}`)]);
      for (const [name, id] of [["than its parent", node.parent], ["than main", c.head.incumbent]] as const) {
        const other = id === null || id === node.id ? null : c.nodes.get(id);
        if (other && other.mean !== null) {
          const { text, word } = against(c, other.mean, node.mean);
          facts.push([name, h("span", { class: word }, word === "equal" ? "as good" : `${text} ${word}`)]);
        }
      }
      const step = c.step(node.id);
      if (step) facts.push(["step of main", c.resolved(node.id) === null ? "how sure is not known: nothing was repeated" : c.resolved(node.id)
        ? `resolved: ${value(c, step.gain)} better, ± ${value(c, 1.96 * step.sd!)} (95 %)` : `not resolved: ${value(c, step.gain)} better, but ± ${value(c, 1.96 * step.sd!)} (95 %) is noise`]);
    }
    if (d.reason) facts.push(["verdict", said(d.reason)]);
    return h("section", {}, facts.length ? list(facts) : null, this.trials(node, d),
      node.by in MARKS ? h("p", { class: "quiet" }, MARKS[node.by]) : null);
  }

  /** Trials as dots with their mean, the parent and main, and what was forecast. */
  private trials(node: Node, d: any): HTMLElement | null {
    const c = this.state.campaign;
    if (node.mean === null) return null;
    const parent = node.parent === null ? null : c.nodes.get(node.parent)?.mean ?? null, main = c.nodes.get(c.head.incumbent)?.mean ?? null;
    const forecast = node.expected && parent !== null ? parent + node.expected : null, noise = node.sd ?? c.head.noise;
    const half = noise == null ? 0 : (1.96 * noise) / Math.sqrt(node.n);
    const marks = [...node.values, parent, main, forecast, node.mean - half, node.mean + half].filter((v): v is number => v !== null);
    let low = Math.min(...marks), high = Math.max(...marks);
    if (!(high > low)) { low -= Math.abs(low) * 1e-3 || 1e-3; high += Math.abs(high) * 1e-3 || 1e-3; }
    const W = 360, x = (v: number) => 14 + ((v - low) / (high - low)) * (W - 28);
    const rows: SVGElement[] = [];
    const line = (v: number | null, words: string, cls: string, y: number) => {
      if (v === null) return;
      const end = x(v) > W - 90;
      rows.push(svg("line", { x1: x(v), x2: x(v), y1: 14, y2: 58, class: cls }), svg("text", { x: x(v) + (end ? -4 : 4), y, class: `${cls} label`, "text-anchor": end ? "end" : "start" }, words));
    };
    line(parent, `parent ${value(c, parent)}`, "parent", 12);
    if (node.id !== c.head.incumbent) line(main, `main ${value(c, main)}`, "main", 68);
    if (forecast !== null) rows.push(svg("path", { d: `M${x(forecast)} 20l5 6l-5 6l-5 -6z`, class: "forecast" }), svg("text", { x: x(forecast), y: 46, class: "forecast label", "text-anchor": "middle" }, "forecast"));
    if (half) rows.push(svg("line", { x1: x(node.mean - half), x2: x(node.mean + half), y1: 36, y2: 36, class: "interval" }));
    rows.push(svg("line", { x1: x(node.mean), x2: x(node.mean), y1: 28, y2: 44, class: "mean" }));
    node.values.forEach((v, i) => rows.push(svg("circle", { cx: x(v), cy: 36, r: 4, class: i === 0 && node.values.length > 1 && node.id ? "screening" : "trial" }, svg("title", {}, `trial ${i}: ${value(c, v)}`))));
    const words = `${node.values.length} trial${node.values.length > 1 ? "s" : ""}: ${node.values.map((v) => value(c, v)).join(", ")}`;
    return h("figure", { class: "trials" }, svg("svg", { viewBox: `0 0 ${W} 72`, role: "img", "aria-label": words }, rows) as any,
      h("figcaption", {}, words, node.expected ? `; forecast ${change(c, node.expected)}, measured ${parent === null ? "–" : change(c, node.mean - parent)} against the parent${half ? ` ± ${value(c, half)}` : ""}` : "",
        node.values.length > 1 && node.id ? "; the hollow screening trial is not in the mean" : ""));
  }

  private idea(node: Node, d: any): HTMLElement | null {
    const c = this.state.campaign, idea = d.idea, facts: [string, any][] = [];
    if (!idea) return null;
    for (const name of ["hypothesis", "mechanism", "brief"]) if (idea[name] && idea[name] !== node.title) facts.push([name, said(idea[name])]);
    facts.push(["asked", `${node.asked}; category ${node.category}${node.policy ? `; policy ${node.policy}` : ""}`]);
    if (node.setback) {
      const [, used, horizon, dip, most, was, paid, went] = node.setback;
      facts.push(["setback contract", `${contract(node)}${paid !== null ? ` by ${pad(paid)}` : ""}: promised a dip of ${value(c, dip)} (at most ${value(c, most)}) for ${horizon} experiments without progress; ${went} went on from it${contract(node) === "open" ? `, ${used} of ${horizon} since it last got better` : ""}; dip ${was === null ? "not measured" : was <= 0 ? "none" : value(c, was)}`]);
    }
    return h("section", {}, h("h3", {}, "The idea"), list(facts));
  }
  private failure(d: any): HTMLElement | null {
    if (!d.failure) return null;
    return h("section", { class: "failure" }, h("h3", {}, `Failed: ${d.failure.kind}`), said(d.failure.message, "p"), d.failure.detail ? h("pre", { tabindex: 0 }, d.failure.detail) : null);
  }
  private calls(d: any): HTMLElement | null {
    const facts: [string, any][] = [];
    for (const trial of d.trials) {
      const r = trial.report, words = [trial.value != null ? String(+Number(trial.value).toPrecision(7)) : trial.failed ?? "not scored", duration(trial.seconds), r && r.steps ? `${r.steps} steps` : "", r && r.tokens ? `${r.tokens} tokens` : "",
        r && r.peak_memory_mb ? `${Math.round(r.peak_memory_mb)} MB` : "", trial.seed ? `seed ${trial.seed}` : "", trial.sandbox ?? r?.sandbox ?? trial.level ? `sandbox ${trial.sandbox ?? r?.sandbox ?? trial.level}` : ""];
      facts.push([`trial ${trial.trial}`, words.filter(Boolean).join(" · ")]);
    }
    for (const call of d.calls) {
      const price = call.model ? dollars(call.dollars) : "";
      facts.push([call.for, [call.backend, call.model, duration(call.seconds), call.tokens ? `${call.tokens} tokens` : "", price === "unknown" ? "price unknown" : price, call.failed].filter(Boolean).join(" · ")]);
    }
    return facts.length ? h("section", {}, h("h3", {}, "Trials and model calls"), list(facts)) : null;
  }
  private log(d: any): HTMLElement | null {
    return d.log ? h("details", { class: "log" }, h("summary", {}, "The end of its log"), h("pre", { tabindex: 0 }, d.log)) : null;
  }
  private git(node: Node, d: any): HTMLElement | null {
    if (!d.commit) return h("p", { class: "quiet" }, "Its files are not known: there is nothing to check out.");
    const lines = [d.branch ? `git switch ${d.branch}` : `git switch --detach refs/ratchetree/${pad(node.id)}`];
    if (node.parent !== null) lines.push(`git diff refs/ratchetree/${pad(node.parent)} refs/ratchetree/${pad(node.id)}`);
    lines.push(`ratchetree show ${node.id}`);
    return h("section", {}, h("h3", {}, "To have it"), h("pre", { class: "commands", tabindex: 0 }, lines.join("\n")));
  }

  private async curves(node: Node, d: any): Promise<void> {
    const c = this.state.campaign, box = byId("curves");
    if (!box || !d.curve?.length) return;
    const drawn: [string, number[], string][] = [[pad(node.id), d.curve, "own"]];
    for (const [id, cls] of [[node.parent, "parent"], [c.head.incumbent, "main"]] as const) {
      if (id === null || id === node.id || (cls === "main" && id === node.parent)) continue;
      const other = await c.texts.detail(id).catch(() => null);
      if (other?.curve?.length) drawn.push([`${cls} ${pad(id)}`, other.curve, cls]);
    }
    if (this.shown !== node.id) return;
    const all = drawn.flatMap(([, curve]) => curve), sorted = [...all].sort((a, b) => a - b), low = sorted[0], high = sorted[Math.floor(sorted.length * 0.98)];
    const W = 360, H = 110, y = (v: number) => 8 + (1 - (Math.min(v, high) - low) / (high - low || 1)) * (H - 16);
    const paths = drawn.map(([, curve, cls]) => svg("polyline", { class: cls, points: curve.map((v, i) => `${(6 + (i / Math.max(1, curve.length - 1)) * (W - 12)).toFixed(1)},${y(v).toFixed(1)}`).join(" ") })).reverse();
    swap(box, h("h3", {}, "Training loss"), h("figure", { class: "curves" }, svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `training loss from ${d.curve[0]} to ${d.curve.at(-1)}` }, paths) as any,
      h("figcaption", {}, drawn.map(([name, curve, cls]) => h("span", { class: `key ${cls}` }, `${name}: ${curve[0].toPrecision(4)} → ${curve.at(-1)!.toPrecision(4)}`)))));
  }

  private async changes(node: Node): Promise<void> {
    const c = this.state.campaign, box = byId("changes");
    if (!box) return;
    const others = this.state.marked.filter((id) => id !== node.id), bases: [Base, number, string][] = [];
    if (node.parent !== null) bases.push(["parent", node.parent, `its parent ${pad(node.parent)}`]);
    if (c.head.incumbent !== node.id) bases.push(["main", c.head.incumbent, `main ${pad(c.head.incumbent)}`]);
    if (others.length) bases.push(["marked", others.at(-1)!, `marked ${pad(others.at(-1)!)}`]);
    if (!bases.length) { swap(box); return; }
    const [base, id] = bases.find(([name]) => name === this.base) ?? bases[0];
    const [before, after] = await Promise.all([c.texts.files(id), c.texts.files(node.id)]);
    if (this.shown !== node.id) return;
    const again = () => this.changes(node);
    const controls = h("p", { class: "buttons" }, "against ",
      h("select", { "aria-label": "compare the files with", onchange: (e: any) => { this.base = e.target.value; again(); } }, bases.map(([name, , words]) => h("option", { value: name, selected: name === base }, words))),
      h("button", { "aria-pressed": String(this.side), onclick: () => { this.side = !this.side; again(); } }, this.side ? "unified" : "side by side"));
    const paths = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((path) => before[path] !== after[path]);
    const known = Object.keys(before).length && Object.keys(after).length;
    swap(box, h("h3", {}, `What it changed ${node.added || node.removed ? `(+${node.added} −${node.removed})` : ""}`), controls,
      !known ? h("p", { class: "quiet" }, node.verdict === FLYING ? "still being written" : "the files are not known") : paths.length ? paths.map((path) => diff.render(path, before[path] ?? "", after[path] ?? "", this.side)) : h("p", { class: "quiet" }, node.verdict === FAILED ? "nothing: no patch could be applied" : "nothing"));
  }
}

const sign = (node: Node) => [node.verdict, node.closed, node.values.length, node.setback].join(" ");
export const list = (facts: [string, any][]) => h("dl", {}, facts.map(([name, words]) => [h("dt", {}, name), h("dd", {}, words)]));
