// What a person may ask of a running night. Each wish is confirmed here, journalled there, and needs the token.
import { Node } from "./data";
import { byId, h, swap } from "./dom";
import { pad } from "./format";
import { State } from "./state";

export function readToken(): string {
  const found = /[#&]token=([\w-]+)/.exec(location.hash);
  if (found) {
    sessionStorage.setItem("token", found[1]);
    history.replaceState(null, "", location.pathname + location.search); // not to be shared by accident
  }
  return sessionStorage.getItem("token") ?? "";
}

export class Controls {
  constructor(private state: State, private token: string) {}
  get allowed(): boolean { return this.state.campaign.live && !!this.token; }

  campaign(): HTMLElement | null {
    if (!this.state.campaign.live) return null;
    if (!this.token) return h("small", { class: "quiet" }, "read only (the link printed by `ratchetree serve` has the controls)");
    const d = this.state.campaign.head, button = (ask: string, words: string, question: string) => h("button", { id: `ask-${ask}`, onclick: () => this.confirm(ask, words, null, question) }, words);
    if (!d.running) return h("small", { class: "quiet" }, "not running: what is asked of a node waits for ", h("code", {}, "ratchetree run"));
    return h("span", { class: "buttons" }, d.paused ? button("resume", "resume", "Go on?") : button("pause", "pause", "Begin nothing new until it is resumed?"),
      button("stop", "stop", "Stop after the trials that run now?"));
  }
  node(node: Node): HTMLElement | null {
    if (!this.allowed || !node.verdict || node.verdict === 1) return null;
    const id = pad(node.id), button = (ask: string, words: string, question: string, more: Partial<{ note: boolean; trials: boolean }> = {}) =>
      h("button", { onclick: () => this.confirm(ask, words, node.id, question, more) }, words);
    return h("span", { class: "buttons" },
      node.mean !== null ? [button("promote", "try next", `Go on from ${id} next?`, { note: true }), button("repeat", "more trials", `Train ${id} again with new seeds?`, { trials: true })] : null,
      node.closed ? button("reopen", "reopen", `Let the search go on from ${id} and below again?`) : button("close", "park the line", `Park the line at ${id}? Nothing goes on from it or below it until you reopen it; nothing is deleted.${this.carriesMain(node) ? " MAIN IS BELOW IT: the search could go on from what was there before only." : ""}`));
  }

  private carriesMain(node: Node): boolean {
    const c = this.state.campaign;
    return c.path(c.head.incumbent).includes(node.id);
  }
  private confirm(ask: string, words: string, node: number | null, question: string, more: Partial<{ note: boolean; trials: boolean }> = {}): void {
    const dialog = byId("dialog") as HTMLDialogElement, answer = h("p", { role: "status", class: "quiet" });
    const note = h("textarea", { rows: 3, "aria-label": "a note that the planner reads", placeholder: "a note that the planner reads (optional)", maxlength: 2000 });
    const trials = h("input", { type: "number", min: 1, max: 20, value: 1, "aria-label": "how many trials" });
    const send = async () => {
      const body = { ask, node, note: more.note ? note.value : "", trials: more.trials ? Number(trials.value) : 1 };
      try {
        const reply = await fetch("api/ask", { method: "POST", headers: { "Content-Type": "application/json", Authorization: `Bearer ${this.token}` }, body: JSON.stringify(body) });
        const said = await reply.json();
        answer.textContent = !reply.ok ? `refused: ${said.error}` : this.state.campaign.head.running ? "asked: the campaign hears it within a second" : "asked: the campaign hears it when it runs again";
        if (reply.ok) setTimeout(() => dialog.close(), 900);
      } catch { answer.textContent = "the server does not answer"; }
    };
    swap(dialog, h("form", { method: "dialog" }, h("h2", {}, question), more.note ? note : null, more.trials ? h("label", {}, trials, " trials") : null, answer,
      h("p", { class: "buttons" }, h("button", { type: "button", class: "primary", id: "confirm", onclick: send }, words), h("button", { value: "cancel" }, "cancel"))));
    dialog.showModal();
  }
}
