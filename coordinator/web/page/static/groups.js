// The list of groups: verdict, name, and a dot for each node.

import { byId, h, keyed, setAttribute, setClass, setText } from "./dom.js";
import { count } from "./words.js";

export const MARKS = { ok: "✓", warning: "!", critical: "✕", idle: "–" };
export const LEVELS = { ok: "OK", warning: "Warning", critical: "Critical", idle: "Idle" };
const WORST = ["critical", "warning", "ok", "idle"];

export const linkOf = (group) => `#group=${encodeURIComponent(group)}`;

/** Return the group that the address names, else the one that needs a look most. */
export function chosen(groups) {
  const named = new URLSearchParams(location.hash.slice(1)).get("group");
  if (groups.some((each) => each.groupId === named)) return named;
  const sorted = [...groups].sort((a, b) => WORST.indexOf(a.verdict.level) - WORST.indexOf(b.verdict.level));
  return sorted[0]?.groupId ?? named;
}

export function showGroups(groups, shown) {
  const nav = byId("groups");
  nav.hidden = groups.length < 2;
  if (nav.hidden) return;
  keyed(nav, groups, (each) => each.groupId, make, (element, each) => update(element, each, shown));
}

export function summary(groups) {
  if (groups.length === 0) return "no groups yet";
  const bad = groups.filter((each) => each.verdict.level === "critical").length;
  const all = count(groups.length, "group");
  return bad ? `${all}, ${bad} without an active node` : all;
}

function make(group) {
  return h("a", { href: linkOf(group.groupId) },
    h("span", { class: "mark", "aria-hidden": "true" }), h("span", { class: "name" }, group.groupId),
    h("span", { class: "short" }), h("span", { class: "dots", role: "img" }));
}

function update(element, group, shown) {
  const [mark, , short, dots] = element.children;
  setClass(element, `level-${group.verdict.level}`);
  if (group.groupId === shown) setAttribute(element, "aria-current", "true");
  else element.removeAttribute("aria-current");
  setText(mark, MARKS[group.verdict.level]);
  setText(short, group.holder ?? LEVELS[group.verdict.level]);
  setAttribute(element, "title", group.verdict.text);
  keyed(dots, group.nodes, (node) => node.taskId, () => h("i"), dot);
  setAttribute(dots, "aria-label", `${count(group.nodes.length, "node")}: ${tally(group.nodes)}`);
}

function dot(element, node) {
  const active = node.role === "active" || node.observer;
  setClass(element, `dot ${node.state}${active ? " holds" : ""}`);
}

function tally(nodes) {
  const counts = {};
  for (const node of nodes) counts[node.state] = (counts[node.state] ?? 0) + 1;
  return Object.entries(counts).map(([state, number]) => `${number} ${state}`).join(", ");
}
