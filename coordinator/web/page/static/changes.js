// Changes, where the server allows them: a dialog that names what happens, then one request.

import { byId, h, setText } from "./dom.js";

const WORDS = {
  switchover: { title: (group) => `Hand ${group.groupId} over`, confirm: "Hand over" },
  "pause-work": { title: (group) => `Pause the work of ${group.groupId}`, confirm: "Pause the work" },
  "pause-takeovers": { title: (group) => `Pause takeovers of ${group.groupId}`, confirm: "Pause takeovers" },
  resume: { title: (group) => `Resume ${group.groupId}`, confirm: "Resume" },
  drain: { title: (_, node) => `Drain ${node}`, confirm: "Drain" },
  undrain: { title: (_, node) => `Let ${node} work again`, confirm: "Undrain" },
};

/** A change is answered within the time-out of the database. */
const ANSWER_MS = 60000;

export class Changes {
  constructor(verbs) {
    this.verbs = verbs;
    this.token = "";
    byId("form").addEventListener("submit", (event) => this.#submit(event));
    byId("cancel").addEventListener("click", () => byId("dialog").close());
  }

  /** Show the buttons of the group. */
  show(group) {
    const place = byId("actions");
    place.hidden = this.verbs.length === 0;
    if (place.hidden) return;
    this.group = group;
    const wanted = ["switchover", ...(group.paused ? ["resume"] : ["pause-work", "pause-takeovers"])];
    const key = wanted.join(" ");
    if (place.dataset.key === key) return;
    place.dataset.key = key;
    place.replaceChildren(...wanted.map((verb) => this.#button(verb, null)));
  }

  /** Fill the cell of a node with its button. */
  cell(cell, node) {
    const drained = node.group.planned.some((each) => each.kind === "drain" && each.node === node.taskId);
    const verb = drained ? "undrain" : "drain";
    if (cell.dataset.verb === verb) return;
    cell.dataset.verb = verb;
    cell.replaceChildren(this.#button(verb, node.taskId));
  }

  #button(verb, node) {
    const button = h("button", { type: "button", class: "quiet" }, `${WORDS[verb].confirm}…`);
    if (node) button.setAttribute("aria-label", `${WORDS[verb].confirm} ${node}`);
    button.addEventListener("click", () => this.#ask(verb, node));
    return button;
  }

  #ask(verb, node) {
    const { group } = this;
    this.asked = { verb, node, group: group.groupId };
    setText(byId("dialog-title"), WORDS[verb].title(group, node));
    byId("dialog-text").replaceChildren(...consequences(verb, group, node).map((each) => h("p", {}, each)));
    setText(byId("confirm"), WORDS[verb].confirm);
    setText(byId("refused"), "");
    byId("confirm").disabled = false;
    byId("target-label").hidden = verb !== "switchover";
    const targets = standbys(group).map((each) => h("option", { value: each }, each));
    byId("target").replaceChildren(h("option", { value: "" }, "the best standby"), ...targets);
    byId("token-label").hidden = this.token !== "";
    byId("token").value = this.token;
    byId("dialog").showModal();
  }

  async #submit(event) {
    event.preventDefault();
    const { asked } = this;
    const { verb, node, group } = asked;
    const body = { node: verb === "switchover" ? byId("target").value : node, reason: byId("reason").value };
    const token = byId("token").value;
    byId("confirm").disabled = true;
    try {
      const answer = await fetch(`/api/v1/groups/${encodeURIComponent(group)}/${verb}`, {
        method: "POST", signal: AbortSignal.timeout(ANSWER_MS), body: JSON.stringify(body),
        headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      });
      const told = await answer.json();
      this.#told(answer, told, token, asked);
    } catch {
      this.#refused(asked, "The server of this page does not answer; nothing is known of the change.");
    } finally {
      if (this.#asking(asked)) byId("confirm").disabled = false;
    }
  }

  #told(answer, told, token, asked) {
    if (answer.ok) {
      this.token = token;
      if (this.#asking(asked)) {
        byId("reason").value = "";
        byId("dialog").close();
      }
      setText(byId("said"), `${WORDS[asked.verb].confirm}: asked for (change ${told.id}).`);
      return;
    }
    if (answer.status === 401) {
      this.token = "";
      byId("token-label").hidden = false;
    }
    this.#refused(asked, told.error ?? `refused with ${answer.status}`);
  }

  /** The dialog may have been closed, and may ask for something else, when an answer comes. */
  #asking(asked) {
    return this.asked === asked && byId("dialog").open;
  }

  #refused(asked, why) {
    if (this.#asking(asked)) setText(byId("refused"), why);
    else setText(byId("said"), `${WORDS[asked.verb].confirm} of ${asked.group}: ${why}`);
  }
}

const drains = (group, name) =>
  group.planned.some((each) => each.kind === "drain" && each.state === "open" && each.node === name);

const standbys = (group) =>
  group.nodes.filter((each) => ["ok", "late"].includes(each.state) && each.taskId !== group.holder && each.priority > 0)
    .map((each) => each.taskId).filter((each) => !drains(group, each));

/** Return what happens, in sentences that name the nodes. */
function consequences(verb, group, node) {
  const holder = group.holder ?? "nobody";
  const names = standbys(group).join(", ") || "none";
  const works = group.spreadsTasks ? "the nodes end their tasks" : `${holder} ends its program`;
  switch (verb) {
    case "switchover":
      return [`${holder} (active, term ${group.term}) ends its program and gives the token of ${group.groupId} up.`,
        `The target takes it under a new term; until its program runs, nobody is active. Standbys: ${names}.`];
    case "pause-work":
      return [`In ${group.groupId} ${works}, and no node starts anything until “Resume”.`];
    case "pause-takeovers":
      return [`Whatever runs in ${group.groupId} goes on. If ${holder} ends or dies, nobody takes over until “Resume”.`];
    case "resume":
      return [`The pause of ${group.groupId} is over: ${group.paused}.`, "Its nodes may take tokens and work again at once."];
    case "drain":
      return [`${node} gives up what it holds in ${group.groupId}${node === group.holder && !group.spreadsTasks ? `: it is active in term ${group.term}, and a standby takes over (${names})` : ""}.`,
        "It takes nothing more until it is undrained."];
    default:
      return [`${node} may take tokens and tasks of ${group.groupId} again.`];
  }
}
