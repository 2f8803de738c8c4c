// Tables below the pictures: tasks, decisions, schedules, operations, history, events.

import { byId, h, keyed, setAttribute, setClass, setText } from "./dom.js";
import { Table } from "./table.js";
import { age, count, gap, iso, seconds, size } from "./words.js";

const text = (value) => (value === null || value === undefined || value === "" ? "–" : String(value));

export class Lists {
  constructor() {
    this.tasks = new Table(byId("tasks"), {
      caption: "Tasks of the group", empty: "no tasks", key: (task) => task.name, style: (task) => `task ${task.state}`,
      columns: [
        { title: "Task", cell: (task) => task.name }, { title: "State", show: (cell, task) => stated(cell, task.state) },
        { title: "Node", cell: (task) => text(task.node ?? (task.lastNode ? `(${task.lastNode})` : null)) },
        { title: "Moved from", cell: (task) => text(task.movedFrom) }, { title: "Term", number: true, cell: (task) => text(task.term) },
        { title: "Since", cell: (task) => iso(task.since) }, { title: "Last error", cell: (task) => text(task.lastError) },
      ],
    });
    this.decisions = new Table(byId("decisions"), {
      caption: "Decisions of the observer, newest first", empty: "no decision yet", key: (each) => `${each.version} ${each.node} ${each.decision}`,
      columns: [
        { title: "At", cell: (each) => iso(each.at) }, { title: "Node", cell: (each) => each.node },
        { title: "Decision", cell: (each) => each.decision }, { title: "Before", cell: (each) => text(each.before) },
        { title: "After", cell: (each) => text(each.after) }, { title: "Reason", cell: (each) => text(each.reason) },
      ],
    });
    this.jobs = new Table(byId("jobs"), {
      caption: "Schedules", empty: "no schedule", key: (job) => job.job, style: (job) => (["failed", "died"].includes(job.lastOutcome) ? "bad" : ""),
      columns: [
        { title: "Schedule", cell: (job) => job.job }, { title: "Node", cell: (job) => text(job.taskId) },
        { title: "Last run", cell: (job) => iso(job.lastAt) }, { title: "Outcome", show: (cell, job) => stated(cell, text(job.lastOutcome)) },
        { title: "Took", number: true, cell: (job) => age(job.lastSeconds) }, { title: "Next run", cell: next },
        { title: "Runs", number: true, cell: (job) => text(job.runs) }, { title: "Skipped", number: true, cell: (job) => text(job.skipped) },
        { title: "Error", cell: (job) => text(job.lastError ?? job.endReason) },
      ],
    });
    this.operations = new Table(byId("operations"), {
      caption: "Operations", empty: "no operations", key: (each) => each.id, style: (each) => `operation ${each.state}`,
      columns: [
        { title: "Operation", cell: (each) => each.name ?? each.id }, { title: "Type", cell: (each) => each.type },
        { title: "Where", cell: (each) => [each.locationType, each.location].filter(Boolean).join(" ") },
        { title: "State", show: (cell, each) => stated(cell, each.state) }, { title: "Subtasks", show: progress },
        { title: "Bytes", number: true, cell: (each) => size(each.bytesCompleted) }, { title: "Left", number: true, cell: (each) => age(each.etaS) },
        { title: "Note", cell: (each) => text(each.error ?? (each.waitsFor ? `waits for ${each.waitsFor}` : null)) },
      ],
    });
    this.history = new Table(byId("history"), {
      caption: "Terms, newest first", empty: "no term began in the last 24 hours", key: (each) => each.term,
      columns: [
        { title: "Term", cell: (each) => String(each.term) }, { title: "At", cell: (each) => iso(each.at) },
        { title: "From", cell: (each) => text(each.from) }, { title: "To", cell: (each) => each.to },
        { title: "How", cell: (each) => each.how }, { title: "Gap", number: true, cell: (each) => gap(each.gapSeconds) },
        { title: "Reason", cell: (each) => text(each.reason) }, { title: "Ended", cell: (each) => (each.endHow ? `${each.endHow}${each.endReason ? `: ${each.endReason}` : ""}` : "–") },
      ],
    });
    this.events = new Table(byId("events"), {
      caption: "Events, newest first", empty: "no events in the last 24 hours", key: (each) => each.id,
      columns: [
        { title: "At", cell: (each) => iso(each.at) }, { title: "Token", cell: (each) => each.token }, { title: "Event", cell: (each) => each.event },
        { title: "Node", cell: (each) => text(each.taskId) }, { title: "Term", number: true, cell: (each) => text(each.term) },
        { title: "Reason", cell: (each) => text(each.reason) }, { title: "By", cell: (each) => text(each.by) },
      ],
    });
  }

  show(group) {
    byId("tasks-section").hidden = byId("decisions-section").hidden = !group.spreadsTasks;
    if (group.spreadsTasks) this.#tasks(group);
    byId("jobs-section").hidden = group.jobs.length === 0;
    this.jobs.update(group.jobs);
    this.history.update(group.takeovers);
    this.events.update(group.events);
  }

  showOperations(operations) {
    byId("operations-section").hidden = !operations?.length;
    this.operations.update(operations ? [...operations].reverse() : []);
  }

  #tasks(group) {
    this.tasks.update(group.tasks.map((task) => ({ ...task, movedFrom: movedFrom(group, task) })));
    const nodes = [...new Set([...group.nodes.filter((node) => node.state !== "ended").map((node) => node.taskId),
      ...group.tasks.map((task) => task.node).filter(Boolean)])].sort();
    const lanes = [...nodes.map((node) => ({ node, tasks: group.tasks.filter((task) => task.node === node) })),
      { node: "nowhere", tasks: group.tasks.filter((task) => !task.node) }];
    keyed(byId("placement"), lanes.filter((lane) => lane.node !== "nowhere" || lane.tasks.length), (lane) => lane.node,
      () => h("div", { class: "lane" }, h("span", { class: "lane-title" }), h("span", { class: "chips" })),
      (element, lane) => {
        setText(element.firstChild, `${lane.node}, ${count(lane.tasks.length, "task")}`);
        keyed(element.lastChild, lane.tasks, (task) => task.name, () => h("span"), (chip, task) => {
          setText(chip, task.name);
          setClass(chip, `chip ${task.state}`);
          setAttribute(chip, "title", `${task.name}: ${task.state}, term ${task.term}`);
        });
      });
    const observer = group.observer;
    setText(byId("observer"), observer?.suspended ? `Suspended by ${observer.suspended.by}: ${text(observer.suspended.reason)}` : `Observer: ${text(observer?.observer)}, term ${text(observer?.term)}`);
    this.decisions.update(observer?.decisions ?? []);
  }
}

/** Return the node that had a task before, where the events still tell. */
function movedFrom(group, task) {
  const token = `${group.groupId}/${task.name}`;
  const before = group.events.find((each) => each.token === token && each.taskId && each.taskId !== task.node);
  return task.node && before ? before.taskId : null;
}

function stated(cell, state) {
  setText(cell, state);
  setClass(cell, `state ${state.toLowerCase()}`);
}

function next(job) {
  if (job.ended) return "ended";
  if (job.nextInSeconds === null) return "–";
  if (job.nextInSeconds >= 0) return `in ${age(job.nextInSeconds)}`;
  return job.taskId ? `overdue ${age(-job.nextInSeconds)}` : "when a node is active";
}

function progress(cell, each) {
  if (!cell.firstChild) cell.append(h("progress"), h("span"));
  const [bar, words] = cell.children;
  bar.max = Math.max(1, each.subtasks);
  bar.value = each.subtasksCompleted;
  setAttribute(bar, "aria-label", `Subtasks of ${each.name ?? each.id}`);
  setText(words, ` ${each.subtasksCompleted}/${each.subtasks}${each.subtasksFailed ? `, ${each.subtasksFailed} failed` : ""}`);
}

export const lastSeen = (group) => seconds(group.takeovers[0]?.at);
