// Nodes: role, state, and the age of the heartbeat as a bar against livenessCheckInterval.

import { byId, h, setClass, setText } from "./dom.js";
import { Table } from "./table.js";
import { age, offset } from "./words.js";

const LIVE = ["ok", "late"];

let table = null;

/** later: seconds since the reading, by which the ages have grown. */
export function showNodes(group, later, actions) {
  table ??= made(actions);
  const active = group.nodes.find((node) => node.role === "active" || node.observer);
  const rows = group.nodes
    .filter((node) => node.state !== "ended")
    .map((node) => ({ ...node, active, later, group }));
  table.update(rows);
}

function made(actions) {
  const columns = [
    { title: "Node", show: named },
    { title: "Role", cell: role },
    { title: "State", show: stated },
    { title: "Last heartbeat", show: bar },
    { title: "Lease left", number: true, cell: (node) => age(left(node)) },
    { title: "Host", cell: (node) => `${node.host ?? "–"}:${node.pid ?? "–"}` },
    { title: "Up", number: true, cell: (node) => age(node.uptimeSeconds) },
    { title: "Clock", number: true, cell: (node) => offset(node.clockOffsetSeconds) },
    { title: "Version", cell: (node) => differs(node, "version", node.version ?? "–") },
    { title: "Settings", cell: (node) => differs(node, "configHash", node.configHash ?? "–") },
  ];
  if (actions) columns.push({ title: "Change", show: actions });
  return new Table(byId("nodes"), {
    caption: "Nodes of the group, with the age of each one's last heartbeat",
    columns, key: (node) => node.taskId, empty: "no live node",
    style: (node) => `node ${node.state}${node === node.active || node.taskId === node.active?.taskId ? " holds" : ""}`,
  });
}

function named(cell, node) {
  setText(cell, node.taskId);
}

function role(node) {
  const name = node.observer ? "observer" : node.role;
  const tasks = node.tasks === null ? "" : `, ${node.tasks} task${node.tasks === 1 ? "" : "s"}`;
  const gate = node.programReady === null || node.programReady === undefined
    ? "" : node.programReady ? ", program ready" : ", program not ready";
  return name + tasks + gate;
}

function stated(cell, node) {
  const state = beatState(node);
  setText(cell, state);
  setClass(cell, `state ${state}`);
}

/** Judge the heartbeat as the database does, by its age now. */
function beatState(node) {
  if (!LIVE.includes(node.state)) return node.state;
  const now = grown(node);
  if (now > node.livenessCheckInterval) return "dead";
  return now <= 2 * node.heartbeatFrequency ? "ok" : "late";
}

const grown = (node) => (node.heartbeatAgeSeconds === null ? null : node.heartbeatAgeSeconds + node.later);

function left(node) {
  return node.leaseRemainingSeconds === null ? null : Math.max(0, node.leaseRemainingSeconds - node.later);
}

function bar(cell, node) {
  if (!cell.firstChild) {
    cell.append(h("span", { class: "beat", "aria-hidden": "true" }, h("span", { class: "fill" }), h("span", { class: "due" })),
      h("span", { class: "beat-age" }));
  }
  const [track, text] = cell.children;
  const now = grown(node);
  const share = now === null ? 0 : Math.min(1, now / node.livenessCheckInterval);
  track.firstChild.style.width = `${(share * 100).toFixed(1)}%`;
  track.lastChild.style.left = `${Math.min(100, (node.heartbeatFrequency / node.livenessCheckInterval) * 100)}%`;
  setClass(track, `beat ${beatState(node)}`);
  setText(text, `${age(now)} of ${node.livenessCheckInterval} s`);
}

function differs(node, field, text) {
  return node.active && node[field] !== node.active[field] ? `${text} (differs)` : text;
}
