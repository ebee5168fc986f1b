// Drawings, in a bundle of their own that is loaded when the first is wanted: Observable Plot, and uPlot for traces.

import * as Plot from "@observablehq/plot";
import uPlot from "uplot";
import { el } from "./dom";
import { short } from "./format";
import { dark } from "./theme";

export interface Point {
  x: number;
  y: number;
  low: number | null;
  high: number | null;
  name: string;
  detail: string;
  front: boolean;
}
export interface Phase {
  name: string;
  phase: string;
  w: number;
}
export interface Part {
  name: string;
  phase: string;
  j: number;
}
export interface Whole {
  name: string;
  j: number;
}
export interface Pair {
  name: string;
  ratio: number;
  low: number | null;
  high: number | null;
  told: boolean;
}
export interface Spread {
  name: string;
  node: string;
  ratio: number;
}
export interface Ceiling {
  name: string;
  load: string;
  active: string;
  trials: number;
}
export interface Line {
  node: string;
  meter: string;
  device: string;
  scope: string;
  fidelity: string;
  t: number[];
  w: (number | null)[];
  averaged_s: number | null;
}
export interface Series {
  power: Line[];
  tokens: { t: number[]; rate: number[]; active: number[]; step_s: number } | null;
}
export interface Mark {
  name: string;
  from: number;
  to: number;
}

// Okabe and Ito's colours, told apart by most people with a colour vision deficiency; lighter on a dark page.
const ON_LIGHT = ["#0072b2", "#d55e00", "#008060", "#b8548f", "#b37a00", "#2d8fc4", "#6f6f6f"];
const ON_DARK = ["#4da3e0", "#ff8c42", "#2fc79a", "#e39ac4", "#f0b93a", "#8fd0f7", "#b5b5b5"];

function palette(i: number): string {
  const colours = dark() ? ON_DARK : ON_LIGHT;
  return colours[i % colours.length]!;
}

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function drawn(options: Plot.PlotOptions): Element {
  const made = Plot.plot({ ...options, style: { background: "transparent", color: colour("--ink"), fontSize: "12px" } });
  // The page allows no style of its own inside a drawing; what it says stands in our sheet.
  for (const style of made.querySelectorAll("style")) style.remove();
  // Lists of names that nobody announces are of no use to a screen reader: the label and the table say what is drawn.
  for (const part of made.querySelectorAll("[aria-label]")) part.removeAttribute("aria-label");
  const drawing = made instanceof SVGSVGElement ? made : made.querySelector(":scope > svg");
  drawing?.setAttribute("role", "img");
  drawing?.setAttribute("aria-label", options.ariaLabel ?? "");
  return made;
}

function width(): number {
  return Math.min(960, Math.max(320, document.documentElement.clientWidth - 48));
}

/** A tick as plain as it can be. */
function tick(value: number): string {
  return value < 1e-4 ? value.toExponential() : String(Number(value.toPrecision(3)));
}

function pareto(points: Point[], x: string, y: string): Element {
  const names = [...new Set(points.map((p) => p.name))];
  const front = points.filter((p) => p.front).sort((a, b) => a.x - b.x);
  return drawn({
    ariaLabel: `${y} against ${x}, ${points.length} rows`,
    width: width(),
    height: 380,
    marginLeft: 64,
    marginBottom: 44,
    grid: true,
    inset: 14,
    x: { type: "log", label: `${x} →`, tickFormat: tick, ticks: 5 },
    y: { type: "log", label: `↑ ${y}`, tickFormat: tick, ticks: 5 },
    color: { domain: names, range: names.map((_, i) => palette(i)) },
    symbol: { domain: names, legend: names.length <= 12 },
    marks: [
      Plot.line(front, { x: "x", y: "y", stroke: "currentColor", strokeOpacity: 0.5, curve: "step-after" }),
      Plot.ruleX(points.filter((p) => p.low !== null), { x: "x", y1: "low", y2: "high", stroke: "name", strokeOpacity: 0.6 }),
      Plot.dot(points, { x: "x", y: "y", stroke: "name", symbol: "name", r: 4.5, strokeWidth: 2, title: (p: Point) => `${p.name}\n${p.detail}\n${short(p.x)}, ${short(p.y)}` }),
    ],
  });
}

const LETTER_PX = 6.4;

/** A scale of names down the left side; what is too long for the screen is cut, and stands whole in the table. */
function names(list: string[]): { marginLeft: number; y: Plot.ScaleOptions } {
  const most = Math.floor((width() * 0.45 - 24) / LETTER_PX);
  // What tells rows apart stands at either end.
  const tail = Math.floor(most * 0.45);
  const cut = (name: string) => (name.length > most ? `${name.slice(0, most - tail - 1)}…${name.slice(-tail)}` : name);
  const longest = Math.max(...list.map((name) => cut(name).length));
  return { marginLeft: 24 + LETTER_PX * longest, y: { label: null, domain: list, tickFormat: cut } };
}

function phases(rows: Phase[]): Element {
  const order = ["cold idle", "loaded idle", "serving"];
  const list = [...new Set(rows.map((r) => r.name))];
  return drawn({
    ariaLabel: "mean power by phase",
    width: width(),
    height: 76 + 22 * list.length,
    marginBottom: 40,
    ...names(list),
    x: { label: "W →", grid: true, zero: true },
    color: { domain: order, range: [palette(5), palette(4), palette(1)] },
    symbol: { domain: order, legend: true },
    marks: [Plot.dot(rows, { x: "w", y: "name", stroke: "phase", symbol: "phase", r: 5, strokeWidth: 2, title: (r: Phase) => `${r.phase}: ${short(r.w)} W` })],
  });
}

function apart(parts: Part[], wholes: Whole[]): Element {
  const order = ["prompt", "answer"];
  const list = [...new Set(parts.map((p) => p.name))];
  return drawn({
    ariaLabel: "energy of one request: prompt and answer apart, and as measured",
    width: width(),
    height: 76 + 26 * list.length,
    marginBottom: 40,
    ...names(list),
    x: { label: "J per request →", grid: true },
    color: { domain: order, range: [palette(0), palette(1)], legend: true },
    marks: [
      Plot.barX(parts, Plot.stackX({ order, x: "j", y: "name", fill: "phase", fillOpacity: 0.75, inset: 3, title: (p: Part) => `${p.phase}: ${short(p.j)} J` })),
      Plot.tickX(wholes, { x: "j", y: "name", stroke: "currentColor", strokeWidth: 3, title: (w: Whole) => `measured: ${short(w.j)} J` }),
    ],
  });
}

function levers(pairs: Pair[]): Element {
  // Two pairs of the same name stand on two lines: a mark that nobody sees tells them apart.
  const rows = pairs.map((p, i) => ({ ...p, row: p.name + "\u200b".repeat(pairs.slice(0, i).filter((q) => q.name === p.name).length) })).sort((a, b) => a.ratio - b.ratio);
  return drawn({
    ariaLabel: "ratio of J per token in pairs that differ in one factor",
    width: width(),
    height: 76 + 18 * rows.length,
    marginBottom: 40,
    ...names(rows.map((r) => r.row)),
    x: { label: "ratio of J per token →", type: "log", grid: true, tickFormat: tick, ticks: width() < 500 ? 3 : 5, inset: 10 },
    marks: [
      Plot.ruleX([1], { stroke: "currentColor" }),
      Plot.ruleY(rows.filter((r) => r.low !== null), { y: "row", x1: "low", x2: "high", stroke: palette(0) }),
      Plot.dot(rows, { x: "ratio", y: "row", fill: (r: Pair) => (r.told ? palette(0) : "transparent"), stroke: palette(0), r: 4.5, title: (r: Pair) => `${r.name}: ${short(r.ratio)}` }),
    ],
  });
}

function spread(points: Spread[]): Element {
  const list = [...new Set(points.map((p) => p.name))];
  return drawn({
    ariaLabel: "J per token of each node over the cell's mean",
    width: width(),
    height: 76 + 22 * list.length,
    marginBottom: 40,
    ...names(list),
    x: { label: "ratio to the cell's mean over nodes →", grid: true },
    marks: [Plot.ruleX([1], { stroke: "currentColor" }), Plot.dot(points, { x: "ratio", y: "name", stroke: palette(0), r: 4.5, title: (p: Spread) => `${p.node}: ${p.ratio.toFixed(3)}` })],
  });
}

function ceilings(cells: Ceiling[]): Element {
  const list = [...new Set(cells.map((c) => c.name))];
  const loads = [...new Set(cells.map((c) => c.load))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const words = new Set(loads.map((load) => /^([a-z ]+) \d/.exec(load)?.[1] ?? ""));
  const word = words.size === 1 ? [...words][0]! : "";
  const active = [...new Set(cells.map((c) => c.active))].sort();
  return drawn({
    ariaLabel: "active constraint by deployment and load",
    width: width(),
    height: 96 + 28 * list.length,
    marginBottom: 40,
    ...names(list),
    x: { label: `${word || "load"} →`, domain: loads, type: "band", tickFormat: (load: string) => load.slice(word.length) },
    color: { domain: active, range: active.map((name, i) => (name === "unknown" ? palette(6) : palette(i))), legend: true },
    marks: [Plot.cell(cells, { x: "load", y: "name", fill: "active", inset: 1, title: (c: Ceiling) => `${c.active} (${c.trials} trials)` })],
  });
}

function traces(place: HTMLElement, series: Series, marks: Mark[]): void {
  const { power, tokens } = series;
  const first = Math.min(...power.map((l) => l.t[0] ?? Infinity), tokens?.t[0] ?? Infinity);
  const last = Math.max(...power.map((l) => l.t.at(-1) ?? -Infinity), tokens?.t.at(-1) ?? -Infinity);
  const scale: [number, number] = [first, last];
  const sync = { sync: { key: "trial" } };
  if (power.length) {
    const averaged = power.find((l) => l.averaged_s !== null)?.averaged_s;
    place.append(el("h4", {}, "Power, W"));
    const data = uPlot.join(power.map((l): uPlot.AlignedData => [l.t, l.w])) as uPlot.AlignedData;
    // More lines than colours of their own: a node with eight devices.
    const lines = power.map((l, i) => ({ label: `${l.device} ${l.scope} (${l.meter})`, stroke: palette(i), dash: i < ON_LIGHT.length ? [] : [6, 3], width: 1.5, spanGaps: true, points: { show: false } }));
    chart(place, "Power over time", data, lines, scale, marks, sync);
    if (averaged) place.append(el("p", { class: "meaning" }, `Drawn are means over ${averaged} s; the records have every reading.`));
  }
  if (tokens) {
    place.append(el("h4", {}, "Output tokens per second"));
    chart(place, "Tokens over time", [tokens.t, tokens.rate], [{ label: "tokens/s", stroke: palette(2), width: 1.5, points: { show: false } }], scale, marks, sync);
    place.append(el("h4", {}, "Requests in flight"));
    chart(place, "Requests in flight over time", [tokens.t, tokens.active], [{ label: "in flight", stroke: palette(3), width: 1.5, points: { show: false } }], scale, marks, sync);
  }
  place.append(el("p", { class: "meaning" }, "Seconds from the start of the window; the window is shaded, and so is the loaded idle before it. Each line is on its own node's clock."));
}

function chart(place: HTMLElement, label: string, data: uPlot.AlignedData, lines: uPlot.Series[], scale: [number, number], marks: Mark[], cursor: uPlot.Cursor): void {
  const ink = colour("--ink");
  const axis = { stroke: ink, grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
  const box = el("div", { role: "img", "aria-label": label, class: "trace" });
  place.append(box);
  const made = new uPlot(
    {
      width: Math.min(1100, Math.max(300, place.clientWidth)),
      height: 200,
      cursor,
      scales: { x: { time: false, range: () => scale }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.08 : 1] } },
      axes: [axis, { ...axis, size: 56 }],
      series: [{ label: "s", value: (_, v) => (v === null ? "–" : v.toFixed(2)) }, ...lines.map((l) => ({ ...l, value: (_: uPlot, v: number | null) => short(v) }))],
      hooks: { drawClear: [(u: uPlot) => shade(u, marks)] },
    },
    data,
    box,
  );
  new ResizeObserver(() => {
    const wide = Math.min(1100, Math.max(300, place.clientWidth));
    if (wide !== made.width) made.setSize({ width: wide, height: 200 });
  }).observe(place);
}

function shade(u: uPlot, marks: Mark[]): void {
  const { ctx, bbox } = u;
  ctx.save();
  for (const mark of marks) {
    const [from, to] = [u.valToPos(mark.from, "x", true), u.valToPos(mark.to, "x", true)];
    const left = Math.max(from, bbox.left);
    const right = Math.min(to, bbox.left + bbox.width);
    if (right <= left) continue;
    ctx.fillStyle = colour(mark.name === "window" ? "--window" : "--idle");
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
    ctx.fillStyle = colour("--faint");
    ctx.font = `${11 * devicePixelRatio}px sans-serif`;
    ctx.textBaseline = "top";
    ctx.fillText(mark.name, left + 4, bbox.top + 3);
  }
  ctx.restore();
}

const drawings = { pareto, phases, apart, levers, spread, ceilings, traces };

declare global {
  var joulemarkPlots: typeof drawings | undefined;
}

globalThis.joulemarkPlots = drawings;
