// The page: what the stream tells, shown; what it no longer tells, greyed.

import { Changes } from "./changes.js";
import { byId, h, setAttribute, setText } from "./dom.js";
import { Gaps } from "./gaps.js";
import { chosen, showGroups, summary } from "./groups.js";
import { Lists } from "./lists.js";
import { showNodes } from "./nodes.js";
import { Stream } from "./stream.js";
import { Terms } from "./terms.js";
import { showVerdict } from "./verdict.js";
import { age, seconds } from "./words.js";

/** Ages grow on the page, too, this often. */
const TICK_MS = 500;

const seen = { overview: null, group: null, name: null };
const terms = new Terms(), gaps = new Gaps(), lists = new Lists();
let changes = null;
let node = null;

const stream = new Stream({ overview: heardOverview, group: heardGroup }, showAge);

function heardOverview(document) {
  const began = performance.now();
  seen.overview = document;
  // A verdict that changes must not take the reader from one group to another.
  if (!document.groups.some((each) => each.groupId === seen.name)) {
    forget();
    change(chosen(document.groups));
  }
  showGroups(document.groups, seen.name);
  setText(byId("summary"), summary(document.groups));
  byId("empty").hidden = document.groups.length > 0;
  setText(byId("empty"), "No groups yet: start a node with coord run.");
  lists.showOperations(document.operations);
  showFooter(document);
  measured("overview", began);
}

function heardGroup(group) {
  if (group === null || group.groupId !== seen.name) return;
  const began = performance.now();
  seen.group = group;
  seen.asOf = seconds(seen.overview.asOf);
  seen.heardAt = performance.now() / 1000;
  byId("group").hidden = false;
  showVerdict(group);
  changes?.show(group);
  showNodes(group, 0, node);
  terms.show(group, seen.asOf);
  gaps.show(group);
  lists.show(group);
  measured("group", began);
}

/** Tests and curious people read how long the script took. */
function measured(name, began) {
  performance.measure(`coord-${name}`, { start: began, end: performance.now() });
  if (performance.getEntriesByType("measure").length > 100) performance.clearMeasures();
}

function change(name) {
  if (name === seen.name || name === undefined) return;
  seen.name = name;
  forget();
  stream.open(name);
}

/** A group that is not there, or no longer, must not be shown as it was. */
function forget() {
  seen.group = null;
  byId("group").hidden = true;
}

function showAge() {
  const old = stream.age();
  const stale = stream.stale();
  document.body.classList.toggle("old", stale);
  setAttribute(byId("live"), "data-live", stale || old === null ? "no" : "yes");
  setText(byId("age"), old === null ? "connecting" : stale ? `data ${age(old)} old` : "live");
  const banner = byId("stale");
  banner.hidden = !stale;
  if (stale) setText(banner, old === null ? `No data yet: ${stream.why()}` : `Data ${Math.round(old)} s old: ${stream.why()}`);
}

function showFooter(document) {
  const parts = [document.server.label, document.scope === "this-machine" ? "this machine only" : null,
    `schema ${document.server.schema}`, `round trip ${(document.server.roundTripSeconds * 1000).toFixed(1)} ms`,
    `as of ${document.asOf.replace("T", " ").slice(0, 19)}Z`, seen.version ? `coord ${seen.version}` : null];
  byId("footer").replaceChildren(...parts.filter(Boolean).map((each) => h("span", {}, each)));
}

function tick() {
  showAge();
  if (seen.group && !stream.stale()) showNodes(seen.group, performance.now() / 1000 - seen.heardAt, node);
}

async function copyHistory() {
  const text = JSON.stringify({ groupId: seen.name, takeovers: seen.group?.takeovers ?? [] }, null, 2);
  try {
    await navigator.clipboard.writeText(text);
    setText(byId("said"), "The history is in the clipboard, as JSON.");
  } catch {
    setText(byId("said"), "This browser does not let the page write to the clipboard.");
  }
}

async function begin() {
  try {
    const session = await (await fetch("/api/v1/session")).json();
    seen.version = session.version;
    changes = new Changes(session.verbs);
    if (session.verbs.length) node = (cell, row) => changes.cell(cell, row);
  } catch {
    // The stream tells that the server does not answer.
  }
  byId("copy").addEventListener("click", copyHistory);
  addEventListener("hashchange", () => {
    if (!seen.overview) return;
    change(chosen(seen.overview.groups));
    showGroups(seen.overview.groups, seen.name);
  });
  setInterval(tick, TICK_MS);
  stream.open(null);
}

begin();
