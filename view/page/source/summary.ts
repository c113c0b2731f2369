// The morning summary: what improved main and why, what failed, what is promising, what it cost, how to have it.
import { h, said, swap } from "./dom";
import { MARKS, against, contract, duration, mark, pad, spent, value } from "./format";
import { State } from "./state";

export async function drawSummary(state: State, box: HTMLElement): Promise<void> {
  const c = state.campaign, d = c.head;
  if (c.empty) { swap(box, h("p", {}, "Nothing has run here yet.")); return; }
  const s = await c.texts.summary();
  const link = (id: number) => h("button", { class: "link", onclick: () => state.select(id) }, pad(id));
  const root = c.node(0), main = c.node(d.incumbent), judged = d.counts[1] + d.counts[2] + d.counts[3];
  const interval = d.gain_sd == null ? "" : `, ± ${value(c, 1.96 * d.gain_sd)} (95 %)`;
  const promised = c.order.filter((n) => n.setback);
  const moved = s.moved.map(([id, why]: [number, string]) => {
    const n = c.node(id), step = c.step(id), resolved = c.resolved(id);
    return h("li", { value: id }, link(id), " ", said(n.title, "strong"), step ? ` ${value(c, step.gain)} better` : "",
      n.mean !== null ? ` → ${value(c, n.mean)}${mark(n)}` : "", resolved === null ? "" : h("span", { class: resolved ? "better" : "quiet" }, resolved ? " · resolved" : " · not resolved"), why ? h("p", { class: "quiet", dir: "auto" }, why) : null);
  });
  swap(box, h("h2", {}, "The morning summary"),
    h("p", { class: "lead" }, d.incumbent ? `${judged} experiment${judged === 1 ? "" : "s"} moved main ${s.moved.length === 1 ? "once" : `${s.moved.length} times`}: ${c.metric} ${value(c, root.mean)} → ${value(c, main.mean)}, ${value(c, d.gain)} better${interval}.` : `${judged} experiments, and main is still at the root (${value(c, root.mean)}).`,
      root.by in MARKS ? ` Scores are ${d.scorer}.` : ""),
    d.claim ? h("p", { class: "lead" }, `Confirmed with new seeds: ${d.claim}`) : null,
    h("section", {}, h("h3", {}, "What improved main, and why"), moved.length ? h("ol", { class: "plain" }, moved) : h("p", { class: "quiet" }, "Nothing yet.")),
    h("section", {}, h("h3", {}, "Promising, and parked"), s.promising.length ? h("ul", { class: "plain" }, s.promising.map((id: number) => {
      const n = c.node(id), { text, word } = against(c, main.mean!, n.mean!);
      return h("li", {}, link(id), " ", said(n.title), ` ${value(c, n.mean)}${mark(n)} `, h("span", { class: word }, word === "equal" ? "(as good as main)" : `(${text} ${word} than main)`));
    })) : h("p", { class: "quiet" }, "Nothing.")),
    promised.length ? h("section", {}, h("h3", {}, "Setback contracts"), h("ul", { class: "plain" }, promised.slice(0, 40).map((n) => h("li", {}, link(n.id), " ", said(n.title), ` · ${contract(n)}: promised a dip of at most ${value(c, n.setback![4])}, ${n.setback![5] === null ? "not measured" : `was ${value(c, Math.max(0, n.setback![5]))}`}; ${n.setback![7]} went on from it`)))) : null,
    h("section", {}, h("h3", {}, "What was tried, and what failed"),
      h("table", {}, h("thead", {}, h("tr", {}, ["category", "tried", "kept", "failed"].map((t) => h("th", {}, t)))),
        h("tbody", {}, Object.entries(s.categories as Record<string, number[]>).sort((a, b) => b[1][0] - a[1][0]).slice(0, 20).map(([name, row]) => h("tr", {}, h("td", { dir: "auto" }, name), row.map((n) => h("td", { class: "right" }, n)))))),
      Object.entries(s.failures as Record<string, number[]>).map(([kind, ids]) => h("p", {}, `${ids.length} ${kind}: `, ids.slice(0, 12).map((id) => [link(id), " "]), ids.length > 12 ? "…" : ""))),
    h("section", {}, h("h3", {}, "What it cost"), h("p", {}, `${d.ran > 0 ? `${duration(d.ran)} in ${d.sessions} session${d.sessions > 1 ? "s" : ""}; ` : ""}${d.trained ? `training ${duration(d.trained)}; ` : ""} ${spent(d)}${c.machine?.cpu ? `; on ${c.machine.gpu || c.machine.cpu}` : ""}.`)),
    h("section", {}, h("h3", {}, "How to have it"), h("pre", { class: "commands", tabindex: 0 }, "git log --first-parent main        # what moved main, in order\ngit switch main                    # the best files\ngit branch --list 'parked/*'       # what did not move it\nratchetree tree                    # everything, in the terminal")));
}
