// Timeline of terms: one lane for each node, red where nobody held the token.

import { byId, h, s, setText } from "./dom.js";
import { age, clock, count, gap, moment, seconds } from "./words.js";

const RANGES = [120, 300, 900, 3600, 3 * 3600, 6 * 3600, 24 * 3600];
const NAMES = { 120: "2 minutes", 300: "5 minutes", 900: "15 minutes", 3600: "hour", 10800: "3 hours", 21600: "6 hours", 86400: "24 hours" };
const LANE = 24, BLOCK = 16, AXIS = 22, LABEL = 130, LABEL_NARROW = 76, WIDTH_MIN = 3;
/** So many of the last terms decide the range that is chosen by itself. */
const RECENT = 6;

/** Return the blocks {node, from, to, term, takeover} and gaps {from, to, takeover} of a group. */
export function spans(group, now) {
  const terms = [...group.takeovers].reverse().map((takeover) => ({ ...takeover, from: seconds(takeover.at) }));
  const last = terms[terms.length - 1];
  if (group.holder && last?.term !== group.term && group.since) {
    terms.push({ term: group.term, to: group.holder, from: seconds(group.since), gapSeconds: null, reason: null });
  }
  const blocks = [], gaps = [];
  terms.forEach((term, index) => {
    const next = terms[index + 1];
    const to = next ? endBefore(term, next) : endNow(term, group, now);
    blocks.push({ node: term.to, from: term.from, to: Math.max(to, term.from), term: term.term, takeover: term });
    if (next && next.from > to) gaps.push({ from: to, to: next.from, takeover: next });
    if (!next && now > to && group.state !== "active") gaps.push({ from: to, to: now, takeover: null });
  });
  return { blocks, gaps };
}

function endBefore(term, next) {
  if (next.gapSeconds !== null) return next.from - Math.max(0, next.gapSeconds);
  return Math.min(seconds(term.endedAt) ?? next.from, next.from);
}

function endNow(term, group, now) {
  if (group.state === "active" && group.term === term.term) return now;
  if (group.leaderlessSeconds !== null) return now - group.leaderlessSeconds;
  return seconds(term.endedAt) ?? seconds(group.since) ?? now;
}

export class Terms {
  constructor() {
    this.place = byId("terms");
    this.range = byId("range");
    this.detail = byId("term");
    this.range.append(h("option", { value: "0" }, "few terms"));
    for (const each of RANGES) this.range.append(h("option", { value: String(each) }, NAMES[each]));
    this.range.addEventListener("change", () => this.redraw());
    this.place.addEventListener("keydown", (event) => this.#key(event));
    this.place.addEventListener("pointerover", (event) => this.#over(event));
    new ResizeObserver(() => this.redraw()).observe(this.place);
    this.marked = null;
  }

  show(group, now) {
    this.group = group;
    this.now = now;
    this.redraw();
  }

  redraw() {
    if (!this.group) return;
    const { blocks, gaps } = spans(this.group, this.now);
    const span = Number(this.range.value) || fitting(blocks, this.now);
    const since = this.now - span;
    this.items = [...blocks.map((each) => ({ ...each, kind: "term" })), ...gaps.map((each) => ({ ...each, kind: "gap" }))]
      .filter((each) => each.to >= since)
      .sort((a, b) => a.from - b.from);
    const names = [...new Set([...this.group.nodes.filter((node) => node.state !== "ended").map((node) => node.taskId),
      ...this.items.filter((each) => each.node).map((each) => each.node)])].sort();
    const width = Math.max(280, this.place.clientWidth);
    const label = width < 560 ? LABEL_NARROW : LABEL;
    const scale = { x: (at) => label + ((Math.max(at, since) - since) / span) * (width - label - 8), width, label, since, span };
    this.place.replaceChildren(this.#drawn(names, scale));
    this.#describe();
  }

  #drawn(names, scale) {
    const height = (names.length + 1) * LANE + AXIS;
    const root = s("svg", { width: scale.width, height, viewBox: `0 0 ${scale.width} ${height}`, role: "img",
      "aria-label": this.#words(), "data-span": scale.span, "data-plot": scale.width - scale.label - 8 });
    ["nobody", ...names].forEach((name, lane) => {
      const y = lane * LANE;
      root.append(s("line", { class: "lane", x1: scale.label, x2: scale.width - 8, y1: y + LANE, y2: y + LANE }),
        s("text", { class: lane ? "lane-name" : "lane-name nobody", x: 0, y: y + LANE - 8 }, shortened(name, scale.label)));
    });
    root.append(...axis(scale, height));
    for (const item of this.items) root.append(...drawn(item, names, scale));
    return root;
  }

  #words() {
    const terms = this.items.filter((each) => each.kind === "term").length;
    const gaps = this.items.filter((each) => each.kind === "gap").length;
    return `Timeline: ${count(terms, "term")}, ${count(gaps, "time")} in which nobody was active; the table of the history has the same`;
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !this.items?.length) return;
    event.preventDefault();
    const at = this.items.findIndex((each) => idOf(each) === this.marked);
    const next = at < 0 ? this.items.length - 1 : Math.min(this.items.length - 1, Math.max(0, at + step));
    this.#mark(idOf(this.items[next]));
  }

  #over(event) {
    const id = event.target.closest?.("[data-id]")?.getAttribute("data-id");
    if (id) this.#mark(id);
  }

  #mark(id) {
    this.marked = id;
    this.#describe();
  }

  #describe() {
    const item = this.items.find((each) => idOf(each) === this.marked);
    for (const each of this.place.querySelectorAll(".marked")) each.classList.remove("marked");
    if (item) this.place.querySelector(`[data-id="${CSS.escape(idOf(item))}"]`)?.classList.add("marked");
    setText(this.detail, item ? told(item) : "Point at a term, or step through them with the arrow keys.");
  }
}

const idOf = (item) => (item.kind === "term" ? `term-${item.term}` : `gap-${item.takeover?.term ?? "now"}`);

function told(item) {
  if (item.kind === "gap") {
    const why = item.takeover?.reason ? `: ${item.takeover.reason}` : "";
    return `Nobody active from ${moment(item.from, 1)}, for ${gap(item.to - item.from)}${item.takeover ? `, until term ${item.takeover.term}` : " so far"}${why}`;
  }
  const how = item.takeover.how ? ` (${item.takeover.how}${item.takeover.reason ? `: ${item.takeover.reason}` : ""})` : "";
  return `Term ${item.term}: ${item.node} from ${moment(item.from, 1)}, for ${age(item.to - item.from)}${how}`;
}

function drawn(item, names, scale) {
  const x = scale.x(item.from);
  const width = Math.max(WIDTH_MIN, scale.x(item.to) - x);
  const lane = item.kind === "gap" ? 0 : names.indexOf(item.node) + 1;
  const rect = s("rect", { class: `${item.kind} ${item.takeover?.how ?? ""}`, x, y: lane * LANE + (LANE - BLOCK) / 2, width, height: BLOCK, rx: 3,
    "data-id": idOf(item), "data-seconds": (item.to - item.from).toFixed(3) }, s("title", {}, told(item)));
  if (item.kind === "term") {
    const text = `${item.term}`;
    const fits = width > 8 * text.length + 8;
    return fits ? [rect, s("text", { class: "term-number", x: x + 5, y: lane * LANE + LANE - 8 }, text)] : [rect];
  }
  const band = s("rect", { class: "band", x, y: LANE, width, height: names.length * LANE });
  return [band, rect];
}

function axis(scale, height) {
  const steps = [10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400];
  const room = scale.width < 560 ? 4 : 8;
  const step = steps.find((each) => scale.span / each <= room) ?? 14400;
  const marks = [];
  for (let at = Math.ceil(scale.since / step) * step; at < scale.since + scale.span - step / 4; at += step) {
    const x = scale.x(at);
    marks.push(s("line", { class: "tick", x1: x, x2: x, y1: 0, y2: height - AXIS }),
      s("text", { class: "tick-name", x, y: height - 6, "text-anchor": "middle" }, step < 60 ? clock(at) : clock(at).slice(0, 5)));
  }
  return [...marks, s("text", { class: "tick-name", x: scale.width - 8, y: height - 6, "text-anchor": "end" }, "now")];
}

/** Return the smallest range in which the last terms begin. */
function fitting(blocks, now) {
  const first = blocks[Math.max(0, blocks.length - RECENT)];
  const needed = first ? now - first.from : 0;
  return RANGES.find((each) => each >= needed) ?? RANGES[RANGES.length - 1];
}

function shortened(name, label) {
  const room = Math.floor(label / 7.2);
  return name.length <= room ? name : `${name.slice(0, room - 1)}…`;
}
