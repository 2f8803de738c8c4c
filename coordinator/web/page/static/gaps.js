// Gap of each takeover over time, by uPlot; lines at the median, the 95th percentile and the interval.

/* global uPlot */

import { byId, setText } from "./dom.js";
import { count, gap, seconds } from "./words.js";

const HEIGHT = 180;
const KINDS = [
  { name: "takeover", label: "holder lost", colour: "--critical", holds: (each) => each.how === "takeover" },
  { name: "switchover", label: "switchover", colour: "--accent", holds: (each) => each.how === "release" && /switchover|resign/.test(each.reason ?? "") },
  { name: "release", label: "given back", colour: "--ok", holds: () => true },
];

export class Gaps {
  constructor() {
    this.place = byId("gaps");
    this.plot = null;
    this.drawn = "";
    new ResizeObserver(() => this.#resize()).observe(this.place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#again());
  }

  show(group) {
    const known = group.takeovers.filter((each) => each.gapSeconds !== null).reverse();
    const interval = Math.max(0, ...group.nodes.map((node) => node.livenessCheckInterval));
    const key = `${group.groupId} ${known.length} ${known[known.length - 1]?.term} ${interval}`;
    byId("gaps-section").hidden = known.length === 0;
    if (key === this.drawn || known.length === 0) return;
    this.drawn = key;
    this.shown = { known, interval };
    this.#again();
  }

  #again() {
    if (!this.shown) return;
    const { known, interval } = this.shown;
    const values = known.map((each) => Math.max(0, each.gapSeconds));
    const median = at(values, 0.5), high = at(values, 0.95);
    const words = `${count(known.length, "takeover")}: median ${gap(median)}, 95 % within ${gap(high)}, longest ${gap(Math.max(...values))}`;
    setText(byId("gaps-words"), words);
    this.plot?.destroy();
    this.place.replaceChildren();
    this.plot = new uPlot(this.#options(values, { median, high, interval }), columns(known, values), this.place);
    const canvas = this.place.querySelector("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", words);
  }

  #options(values, lines) {
    const text = colour("--faint"), grid = colour("--line");
    const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, font: "11px system-ui, sans-serif" };
    const top = Math.max(lines.interval, ...values) * 1.3;
    return {
      width: this.place.clientWidth, height: HEIGHT, tzDate: (at) => uPlot.tzDate(new Date(at * 1e3), "Etc/UTC"),
      scales: { x: { range: spread }, y: { range: [0, top] } },
      cursor: { drag: { x: false, y: false }, points: { size: 9 } },
      legend: { live: false },
      axes: [{ ...axis, space: 70, size: 32, values: (_, marks, __, ___, step) => marks.map((each) => when(each, step)) }, { ...axis, size: 46, values: (_, marks) => marks.map((each) => `${each} s`) }],
      series: [{}, ...KINDS.map((kind) => ({ label: kind.label, stroke: colour(kind.colour), paths: () => null,
        points: { show: true, size: 7, fill: colour(kind.colour) } }))],
      hooks: { draw: [(plot) => drawLines(plot, lines)] },
    };
  }

  #resize() {
    const width = this.place.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }
}

/** Return the smallest value that a share of the values is not above. */
function at(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
}

function columns(known, values) {
  const kinds = known.map((each) => KINDS.find((kind) => kind.holds(each)));
  const times = known.map((each) => seconds(each.at));
  return [times, ...KINDS.map((kind) => values.map((value, index) => (kinds[index] === kind ? value : null)))];
}

function when(moment, step) {
  const text = new Date(moment * 1000).toISOString();
  if (step < 60) return text.slice(11, 19);
  return step < 86400 ? text.slice(11, 16) : text.slice(5, 10);
}

/** One point alone would have no width. */
function spread(_plot, low, high) {
  const margin = Math.max(30, (high - low) * 0.05);
  return [low - margin, high + margin];
}

function drawLines(plot, { median, high, interval }) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  const drawn = [];
  for (const [value, name, tone, side] of [[interval, "livenessCheckInterval", "--warning", "left"], [high, "95 %", "--faint", "right"], [median, "median", "--faint", "right"]]) {
    const y = plot.valToPos(value, "y", true);
    ctx.textAlign = side;
    ctx.strokeStyle = ctx.fillStyle = colour(tone);
    ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    // Two names at one height could not be read: the one that is drawn first stays.
    if (drawn.some((each) => each.side === side && Math.abs(each.y - y) < 14 * devicePixelRatio)) continue;
    drawn.push({ side, y });
    ctx.fillText(name, side === "left" ? bbox.left + 4 : bbox.left + bbox.width - 4, y - 4);
  }
  ctx.restore();
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
