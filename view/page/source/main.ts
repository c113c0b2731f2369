// Puts the page together: views, panes, filter, time, keyboard, theme.
import { CompareView } from "./compare";
import { Controls, readToken } from "./controls";
import { Campaign, Node } from "./data";
import { DetailPane } from "./detail";
import { byId, h, said, swap } from "./dom";
import { SIGN, WORD, mark, pad, value } from "./format";
import { drawHead } from "./head";
import { follow, load } from "./load";
import { Plane } from "./plane";
import { RatchetView } from "./ratchet";
import { State } from "./state";
import { drawSummary } from "./summary";
import { TableView } from "./table";
import { TreeView } from "./tree";

const TABS = ["overview", "ratchet", "tree", "table", "compare", "summary"] as const;
type Tab = (typeof TABS)[number];

class Page {
  state: State;
  ratchet: RatchetView; tree: TreeView; table: TableView; compare: CompareView; controls: Controls;
  tab: Tab;
  connected = "";
  private playing = 0;

  constructor(public campaign: Campaign) {
    const state = (this.state = new State(campaign)), tip = this.tip.bind(this);
    this.ratchet = new RatchetView(byId("ratchet-canvas") as HTMLCanvasElement, state, tip);
    this.tree = new TreeView(byId("tree-canvas") as HTMLCanvasElement, state, tip);
    this.controls = new Controls(state, readToken());
    this.table = new TableView(state, byId("table"));
    this.compare = new CompareView(state, byId("compare"));
    new DetailPane(state, byId("detail"), (node) => this.controls.node(node));
    this.tree.onFold = (fold) => { state.folded = false; this.folding(); this.tree.closer(fold.nodes[0]); };
    this.tab = campaign.live ? "overview" : "summary";
    this.tabs(); this.filters(); this.scrubber(); this.buttons(); this.keys();
    state.listen((what) => {
      if (what === "data") { drawHead(state, this.connected); this.asking(); this.filters(); this.scrubber(); }
      if (what === "time") { this.scrubber(); if (this.ratchet.fitted) this.ratchet.fit(); }
      if (what === "selection") this.selection();
      this.ratchet.draw(); this.tree.draw();
      if (what === "data") { if (this.ratchet.fitted) this.ratchet.fit(); this.tree.relaid(); }
    });
    drawHead(state, "");
    this.asking();
    this.open(this.tab);
    const wanted = /n=(\d+)/.exec(location.hash);
    if (wanted) state.select(Number(wanted[1]));
    if (campaign.live) follow(campaign, (changes) => this.update(changes), (places) => { campaign.place(places); this.tree.relaid(); }, (words) => { this.connected = words; drawHead(state, words); });
  }

  /** What can be asked of the campaign, made anew when that changes (not under somebody's finger). */
  private asking(): void {
    const { running, paused } = this.campaign.head, now = `${running} ${paused}`;
    if (now !== this.asked) swap(byId("controls"), this.controls.campaign());
    this.asked = now;
  }
  private asked = "";
  private update(changes: any): void {
    const before = this.campaign.head.incumbent;
    this.campaign.apply(changes);
    this.state.tell("data");
    if (this.campaign.head.incumbent !== before) this.announce(`main moved to ${pad(this.campaign.head.incumbent)}`);
    if (this.tab === "summary") drawSummary(this.state, byId("summary"));
  }

  // -- parts ------------------------------------------------------------------------------------------------------

  private tabs(): void {
    swap(byId("tabs"), TABS.map((name) => h("button", { role: "tab", id: `tab-${name}`, "aria-controls": name === "overview" ? "views" : name, onclick: () => this.open(name) }, name)));
  }
  open(tab: Tab): void {
    this.tab = tab;
    document.body.dataset.tab = tab;
    for (const name of TABS) byId(`tab-${name}`).setAttribute("aria-selected", String(name === tab));
    for (const [id, tabs] of Object.entries({ ratchet: ["overview", "ratchet"], tree: ["overview", "tree"], table: ["table"], compare: ["compare"], summary: ["summary"] })) byId(id).hidden = !tabs.includes(tab);
    byId("views").hidden = !["overview", "ratchet", "tree"].includes(tab);
    if (tab === "table") this.table.renew();
    if (tab === "compare") this.compare.draw();
    if (tab === "summary") drawSummary(this.state, byId("summary"));
  }

  private filters(): void {
    const f = this.state.filter, c = this.campaign, of = (key: "asked" | "category" | "policy") => [...c.choices[key]].sort();
    const told = () => { this.state.tell("filter"); this.found(); };
    const box = byId("filters");
    if (box.childElementCount) { // keep what is being typed; only new choices come in
      for (const [id, key] of [["f-operator", "asked"], ["f-category", "category"], ["f-policy", "policy"]] as const) {
        const select = byId(id) as HTMLSelectElement;
        if (select.options.length > c.choices[key].size) continue; // with "any"
        for (const name of of(key)) if (![...select.options].some((o) => o.value === name)) select.append(h("option", { value: name }, name));
      }
      this.found();
      return;
    }
    const choice = (id: string, words: string, key: "asked" | "category" | "policy", set: (v: string) => void) =>
      h("select", { id, "aria-label": words, onchange: (e: any) => { set(e.target.value); told(); } }, h("option", { value: "" }, words), of(key).map((name) => h("option", { value: name }, name)));
    const bound = (words: string, set: (v: number | null) => void) => h("input", { type: "text", inputmode: "decimal", size: 7, placeholder: words, "aria-label": `score ${words}`, oninput: (e: any) => { const v = parseFloat(e.target.value); set(Number.isFinite(v) ? v : null); told(); } });
    swap(box,
      h("input", { id: "search", type: "search", placeholder: "search ( / )", "aria-label": "search titles, categories, failures, numbers", oninput: (e: any) => { f.text = e.target.value; told(); } }),
      h("span", { class: "verdicts", role: "group", "aria-label": "verdicts" }, [2, 3, 4, 1].map((v) => h("button", { class: `v${v}`, "aria-pressed": "true", title: WORD[v], "aria-label": `show ${WORD[v]}`, onclick: (e: any) => {
        if (f.verdicts.has(v)) f.verdicts.delete(v); else f.verdicts.add(v);
        e.currentTarget.setAttribute("aria-pressed", String(f.verdicts.has(v))); told();
      } }, `${SIGN[v]} ${WORD[v]}`))),
      h("details", { class: "more" }, h("summary", {}, "more"), h("div", {},
        choice("f-operator", "any operator", "asked", (v) => (f.operator = v)), choice("f-category", "any category", "category", (v) => (f.category = v)), choice("f-policy", "any policy", "policy", (v) => (f.policy = v)),
        bound("from", (v) => (f.low = v)), bound("to", (v) => (f.high = v)))),
      h("span", { id: "found", class: "quiet", role: "status" }));
  }
  private found(): void { byId("found").textContent = this.state.filtering ? `${this.state.shown().length} of ${this.campaign.order.length}` : ""; }

  private scrubber(): void {
    const c = this.campaign, last = c.order.at(-1)?.id ?? 0, upto = Math.min(this.state.upto, last), box = byId("scrubber");
    box.hidden = last < 2;
    let range = document.getElementById("time") as HTMLInputElement | null;
    if (!range) {
      range = h("input", { id: "time", type: "range", min: 0, "aria-label": "replay: show experiments up to", oninput: (e: any) => this.scrub(Number(e.target.value)) });
      swap(box, h("button", { id: "play", "aria-label": "replay the night", onclick: () => this.play() }, "▶"), range, h("output", { id: "when" }));
    }
    range.max = String(last); range.value = String(upto);
    const main = c.mainAt(upto);
    byId("when").textContent = this.state.upto >= last ? "now" : `as of ${pad(upto)}: ${value(c, main?.mean)}`;
    byId("play").textContent = this.playing ? "❚❚" : "▶";
  }
  scrub(to: number): void {
    const last = this.campaign.order.at(-1)?.id ?? 0;
    this.state.upto = to >= last ? Infinity : to;
    this.state.tell("time");
  }
  private play(): void {
    if (this.playing) { clearInterval(this.playing); this.playing = 0; this.scrubber(); return; }
    const last = this.campaign.order.at(-1)?.id ?? 0, step = Math.max(1, Math.round(last / 240));
    if (this.state.upto >= last) this.state.upto = 0;
    this.playing = window.setInterval(() => {
      this.scrub(this.state.upto + step);
      if (this.state.upto === Infinity) { clearInterval(this.playing); this.playing = 0; this.scrubber(); }
    }, 50);
  }

  private folding(): void { byId("fold").setAttribute("aria-pressed", String(this.state.folded)); this.tree.relaid(); }
  private buttons(): void {
    const tool = (id: string, words: string, title: string, act: () => void, pressed?: boolean) => h("button", { id, title, "aria-label": title, "aria-pressed": pressed === undefined ? null : String(pressed), onclick: act }, words);
    const zooms = (plane: Plane) => [tool("", "+", "zoom in", () => plane.zoom(1.4)), tool("", "−", "zoom out", () => plane.zoom(1 / 1.4)), tool("", "fit", "fit everything", () => plane.fit())];
    const timed = this.campaign.order.some((n) => n.started !== this.campaign.order[0].started);
    swap(byId("ratchet-tools"), h("h2", {}, "Ratchet"), timed ? tool("hours", "hours", "hours instead of experiments", () => { this.state.hours = !this.state.hours; byId("hours").setAttribute("aria-pressed", String(this.state.hours)); this.ratchet.fit(); }, false) : null, zooms(this.ratchet));
    swap(byId("tree-tools"), h("h2", {}, "Tree"), tool("fold", "fold", "fold long fans and chains", () => { this.state.folded = !this.state.folded; this.tree.fitted = true; this.folding(); }, true), zooms(this.tree));
    swap(byId("corner"), tool("theme", "◐", "light or dark", () => this.theme()), tool("help", "?", "keys", () => this.help()));
    try { const kept = localStorage.getItem("theme"); if (kept) document.documentElement.dataset.theme = kept; } catch { /* a file may have no storage */ }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.ratchet.recolour(); this.tree.recolour(); });
    this.ratchet.recolour(); this.tree.recolour();
  }
  private theme(): void {
    const root = document.documentElement, dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* as above */ }
    this.ratchet.recolour(); this.tree.recolour(); this.tree.relaid();
  }
  private help(): void {
    const keys = [["← →", "parent, best child"], ["↑ ↓", "siblings (rows in the table)"], ["[ ]", "the experiment before, after"], ["m", "mark to compare"], ["/", "search"], ["f", "fit"], ["o", "fold or unfold"], ["+ −", "zoom"], ["1 … 6", TABS.join(", ")], ["g", "go to main"], ["Esc", "close"], ["?", "this list"]];
    const dialog = byId("dialog") as HTMLDialogElement;
    swap(dialog, h("h2", {}, "Keys"), h("dl", { class: "keys" }, keys.map(([key, words]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, words)])), h("form", { method: "dialog" }, h("button", {}, "close")));
    dialog.showModal();
  }

  // -- selection and keyboard -----------------------------------------------------------------------------------------

  private selection(): void {
    const id = this.state.selected, c = this.campaign;
    if (id === null) return;
    const node = c.node(id);
    history.replaceState(null, "", `#n=${id}`);
    if (this.tab === "tree" || this.tab === "overview") this.tree.show(id);
    if ((this.tab === "ratchet" || this.tab === "overview") && node.mean !== null && !this.ratchet.fitted) this.ratchet.reveal(this.ratchet.x(node), node.mean);
    if (this.tab === "table") this.table.reveal(id);
    this.announce(`${pad(id)}, ${WORD[node.verdict]}, ${node.title}${node.mean === null ? "" : `, ${value(c, node.mean)}`}`);
  }
  private announce(words: string): void { byId("announce").textContent = words; }

  private keys(): void {
    for (const [plane, words] of [[this.ratchet, "ratchet view"], [this.tree, "tree view"]] as const) {
      plane.canvas.tabIndex = 0;
      plane.canvas.setAttribute("role", "application");
      plane.canvas.setAttribute("aria-label", plane instanceof RatchetView ? plane.describe() : "Tree view: arrow keys walk from parent to child and between siblings; the table has the same nodes as text.");
    }
    document.addEventListener("keydown", (e) => {
      const target = e.target as HTMLElement, typing = /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
      if (e.key === "Escape") { if (typing) target.blur(); else if (!(byId("dialog") as HTMLDialogElement).open) this.state.select(null); return; }
      if (typing || e.ctrlKey || e.metaKey || e.altKey || (byId("dialog") as HTMLDialogElement).open) return;
      if (this.key(e.key)) e.preventDefault();
    });
  }
  private key(key: string): boolean {
    const plane: Plane = this.tab === "ratchet" ? this.ratchet : this.tree, number = "123456".indexOf(key);
    if (number >= 0) { this.open(TABS[number]); return true; }
    switch (key) {
      case "/": byId("search").focus(); return true;
      case "?": this.help(); return true;
      case "f": this.ratchet.fit(); this.tree.fit(); return true;
      case "o": byId("fold").click(); return true;
      case "+": case "=": plane.zoom(1.3); return true;
      case "-": plane.zoom(1 / 1.3); return true;
      case "g": this.state.select(this.campaign.head.incumbent ?? 0); return true;
      case "m": if (this.state.selected !== null) this.state.mark(this.state.selected); return true;
    }
    if (!/^(Arrow|\[|\])/.test(key) || this.campaign.empty) return false;
    if (this.state.selected === null) { this.state.select(this.campaign.head.incumbent ?? 0); return true; }
    if (this.tab === "table" && /Up|Down/.test(key)) { this.table.step(key === "ArrowUp" ? -1 : 1); return true; }
    const next = this.walk(this.campaign.node(this.state.selected), key);
    if (next !== undefined) this.state.select(next);
    return true;
  }
  private walk(node: Node, key: string): number | undefined {
    const c = this.campaign, there = (id: number) => this.state.visible(c.node(id)) && this.state.matches(id);
    if (key === "ArrowLeft") return node.parent ?? undefined;
    if (key === "ArrowRight") {
      const main = new Set(c.path(c.head.incumbent)), below = (c.children.get(node.id) ?? []).filter(there);
      return below.find((id) => main.has(id)) ?? below.sort((a, b) => (c.node(a).mean === null ? Infinity : c.loss(c.node(a).mean!)) - (c.node(b).mean === null ? Infinity : c.loss(c.node(b).mean!)))[0];
    }
    const row = key === "[" || key === "]" ? c.order.map((n) => n.id).filter(there) : this.siblings(node).filter(there);
    return row[row.indexOf(node.id) + (key === "ArrowUp" || key === "[" ? -1 : 1)];
  }
  private siblings(node: Node): number[] { // as they lie on the screen, top to bottom
    const row = node.parent === null ? [node.id] : [...this.campaign.children.get(node.parent)!], places = this.campaign.places[this.state.folded ? 0 : 1];
    return row.sort((a, b) => (places.get(a)?.[1] ?? 1e6 + a) - (places.get(b)?.[1] ?? 1e6 + b));
  }

  private tip(id: number | null, x: number, y: number, of: Plane): void {
    const box = byId("tip"), node = id === null ? undefined : this.campaign.nodes.get(id);
    box.hidden = !node;
    if (!node) return;
    swap(box, h("strong", {}, `${SIGN[node.verdict]} ${pad(node.id)} ${node.mean === null ? WORD[node.verdict] : value(this.campaign, node.mean) + mark(node)}`), said(node.title.slice(0, 120), "p"));
    const at = of.canvas.getBoundingClientRect(), wide = Math.min(280, innerWidth - 20);
    box.style.left = `${Math.min(at.left + x + 14, innerWidth - wide - 10)}px`;
    box.style.top = `${Math.min(at.top + y + 14, innerHeight - 80)}px`;
  }
}

load().then(
  (campaign) => {
    const page = new Page(campaign);
    (window as any).ratchetree = page; // for the console, the tests and the benchmark
    requestAnimationFrame(() => requestAnimationFrame(() => { performance.mark("painted"); document.body.classList.add("ready"); }));
  },
  (error) => swap(byId("tiles"), h("p", { class: "empty", role: "alert" }, `The campaign cannot be shown: ${error.message}`)),
);
