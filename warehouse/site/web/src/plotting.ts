// The view of plots: what is drawn is what the filters and limits leave.

import { keyOf, load, rowsOf, type Core, type Row } from "./data";
import { plots, scroll } from "./detail";
import { el, need, type Child } from "./dom";
import { percent, short } from "./format";
import { labels } from "./labels";
import { ERROR } from "./statistics";
import type { Model, Shown } from "./model";
import type { Point, Pair, Phase, Spread, Ceiling } from "./plots";
import { measure } from "./measures";
import { LATENCIES } from "./ranking";
import type { State } from "./state";
import type { Change } from "./table";

type Json = Record<string, unknown>;
const MOST = 30;
const MOST_PAIRS = 60;
let turn = 0;

export async function drawPlots(model: Model, shown: Shown, state: State, change: Change): Promise<void> {
  const mine = ++turn;
  await plots();
  const { plots: tables } = model.core.about;
  const columns = tables.length ? await load<Record<string, Core["rows"]>>("plots", "data/plots.js") : {};
  if (mine !== turn) return; // a later state is being drawn already
  const extra: Record<string, Json[]> = Object.fromEntries(Object.entries(columns).map(([name, table]) => [name, rowsOf(table)]));
  const kept = shown.groups.flatMap((group) => group.lines.map((line) => line.row));
  const named = new Named(kept);
  const parts: HTMLElement[] = [];
  // One row has nothing to weigh against another.
  const several = shown.groups.filter((group) => group.lines.length > 1);
  for (const group of several.length ? several : shown.groups) parts.push(pareto(model, shown, group.id, state, change));
  parts.push(phases(shown, named), apart(extra["phase_energy"] ?? [], named));
  if (extra["lever_effects"]?.length) parts.push(levers(extra["lever_effects"], named, state, change));
  if (extra["node_results"]?.some((l) => l["to_cell"] !== 1)) parts.push(spread(extra["node_results"], named));
  if (extra["active_constraint"]?.length) parts.push(ceilings(extra["active_constraint"], named));
  need("plots").replaceChildren(...parts);
}

/** The rows that are shown, with a name for each. */
class Named {
  readonly byKey: Map<string, Row>;
  readonly byCell: Map<string, Row>;
  private readonly names: Map<string, string>;

  constructor(rows: Row[]) {
    this.byKey = new Map(rows.map((row) => [row.key, row]));
    this.byCell = new Map(rows.map((row) => [row.cell, row]));
    this.names = labels(rows);
  }

  of(row: Row): string {
    return this.names.get(row.key)!;
  }

  /** The row that a line of a table is about, if it is shown. */
  row(line: Json, cell = "cell"): Row | undefined {
    return this.byKey.get(keyOf(line, cell));
  }
}

function figure(title: string, meaning: Child, drawing: Element | null, table: HTMLElement, ...more: Child[]): HTMLElement {
  return el(
    "section",
    { class: "plot" },
    el("h2", {}, title),
    el("p", { class: "meaning" }, meaning),
    ...more,
    drawing ? el("div", { class: "chart" }, drawing) : el("p", { class: "empty" }, "Nothing to draw."),
    el("details", {}, el("summary", {}, "the same as a table"), table),
  );
}

function pareto(model: Model, shown: Shown, id: number, state: State, change: Change): HTMLElement {
  const group = shown.groups.find((g) => g.id === id)!;
  const by = measure(state.metric);
  const points: Point[] = [];
  for (const line of group.lines) {
    const [x, y] = [line.row[state.x], by.value(line.figures)];
    // On a scale of ratios there is no place for nothing.
    if (typeof x !== "number" || y === null || y <= 0 || x <= 0) continue;
    const [low, high] = [by.low(line.figures), by.high(line.figures)];
    points.push({ x, y, low: low || null, high: high || null, name: `${line.row.model} ${line.row.quantization}`, detail: `${line.row.engine} ${line.row.accelerator}, ${line.row.load}`, front: false });
  }
  front(points, by.more);
  const what = by.unit.replace("$", model.currency);
  const select = el("select", { id: `x-${id}`, change: () => change({ x: select.value }) }, ...LATENCIES.map((name) => el("option", { value: name, selected: name === state.x }, name.replaceAll("_", " "))));
  const table = scroll(
    `Points: ${group.boundary}, ${group.fidelity}, ${group.task}`,
    ["row", "setting", state.x.replaceAll("_", " "), what, "on the front"],
    points.map((p) => [p.name, p.detail, short(p.x), short(p.y), p.front ? "yes" : "no"]),
  );
  const drawing = points.length ? globalThis.joulemarkPlots!.pareto(points, state.x.replaceAll("_", " "), what) : null;
  return figure(
    `Efficiency against latency: ${group.boundary}, ${group.fidelity}, ${group.task}`,
    `${by.more ? "Higher" : "Lower"} and further left is better. The line joins the rows that no other row beats in both: ${points.filter((p) => p.front).length} of ${points.length}.`,
    drawing,
    table,
    el("p", {}, el("label", { for: `x-${id}` }, "latency "), select),
  );
}

/** Mark the points that no other one beats in both. */
export function front(points: Point[], more: boolean): void {
  const bad = (point: Point) => (more ? -point.y : point.y);
  let best = Infinity;
  for (const point of [...points].sort((a, b) => a.x - b.x || bad(a) - bad(b))) {
    point.front = bad(point) < best;
    if (point.front) best = bad(point);
  }
}

function phases(shown: Shown, named: Named): HTMLElement {
  const rows: Phase[] = [];
  for (const group of shown.groups)
    for (const { row } of group.lines.slice(0, MOST)) {
      const name = named.of(row);
      const idle = row["cold_idle_w"];
      if (typeof idle === "number") rows.push({ name, phase: "cold idle", w: idle });
      if (row.loaded_idle_w !== null) rows.push({ name, phase: "loaded idle", w: row.loaded_idle_w });
      rows.push({ name, phase: "serving", w: row.mean_w });
    }
  const table = scroll("Power by phase", ["row", "phase", "W"], rows.map((r) => [r.name, r.phase, short(r.w)]));
  return figure(
    "Power by phase",
    `Mean power without an engine, with the engine loaded and no requests, and in the window. The first ${MOST} rows of each group.`,
    rows.length ? globalThis.joulemarkPlots!.phases(rows) : null,
    table,
  );
}

/** Prompt and answer apart: only where a cell has companions that were measured for it. */
function apart(list: Json[], named: Named): HTMLElement {
  const found = list.flatMap((l) => {
    const row = named.row(l);
    if (!row) return [];
    const n = (name: string) => Number(l[name]);
    const parts = { prompt: n("input_tokens") * n("prefill_j_per_token"), answer: n("output_tokens") * n("decode_j_per_token") };
    return [{ ...parts, name: named.of(row), measured: n("measured_j"), prefill: n("prefill_j_per_token"), decode: n("decode_j_per_token"), difference: n("difference") }];
  });
  const table = scroll(
    "Energy by phase",
    ["row", "J per prompt token", "J per answer token", "J of the prompt", "J of the answer", "J of a request as measured", "both / measured − 1"],
    found.map((f) => [f.name, short(f.prefill), short(f.decode), short(f.prompt), short(f.answer), short(f.measured), percent(f.difference)]),
  );
  const parts = found.flatMap((f) => [{ name: f.name, phase: "prompt", j: f.prompt }, { name: f.name, phase: "answer", j: f.answer }]);
  return figure(
    "Energy by phase",
    found.length
      ? "What the prompt and the answer of one request take, from companion trials that do one of the two alone; the black line is the request as measured. The difference is what the phases do to each other in one batch."
      : "Prompt and answer apart are known only where companion trials measured each alone (phases: isolate in the sweep file). None of these rows has them, and no estimate stands in their place.",
    found.length ? globalThis.joulemarkPlots!.apart(parts, found.map((f) => ({ name: f.name, j: f.measured }))) : null,
    table,
  );
}

function levers(list: Json[], named: Named, state: State, change: Change): HTMLElement {
  const all = list.filter((l) => named.row(l, "cell_a") || named.row(l, "cell_b"));
  const names = [...new Set(all.map((l) => String(l["lever"])))].sort();
  const lever = names.includes(state.lever) ? state.lever : (names[0] ?? "");
  const pairs: Pair[] = all.filter((l) => l["lever"] === lever).map((l) => pair(l, named));
  const select = el("select", { id: "lever", change: () => change({ lever: select.value }) }, ...names.map((name) => el("option", { value: name, selected: name === lever }, name)));
  const table = scroll("Pairs", ["change", "ratio", "low", "high", "different"], pairs.map((p) => [p.name, short(p.ratio), short(p.low), short(p.high), p.told ? "yes" : "not distinguishable"]));
  return figure(
    "Lever effects",
    `Pairs of cells that differ in this factor alone: J per token of the second over that of the first, with 95 % intervals; full where they can be told apart.${pairs.length > MOST_PAIRS ? ` Drawn are the ${MOST_PAIRS} largest of ${pairs.length}.` : ""}`,
    pairs.length ? globalThis.joulemarkPlots!.levers(largest(pairs)) : null,
    table,
    el("p", {}, el("label", { for: "lever" }, "lever "), select),
  );
}

function pair(line: Json, named: Named): Pair {
  const [a, b] = [named.row(line, "cell_a"), named.row(line, "cell_b")];
  const about = a ? named.of(a) : named.of(b!);
  return { name: `${line["value_a"]} → ${line["value_b"]}: ${about}`, ratio: Number(line["ratio"]), low: line["ratio_low"] as number | null, high: line["ratio_high"] as number | null, told: typeof line["p"] === "number" && line["p"] < ERROR };
}

function largest(pairs: Pair[]): Pair[] {
  return [...pairs].sort((x, y) => Math.abs(Math.log(y.ratio)) - Math.abs(Math.log(x.ratio))).slice(0, MOST_PAIRS);
}

function spread(list: Json[], named: Named): HTMLElement {
  const several = new Set(list.filter((l) => l["to_cell"] !== 1).map((l) => named.row(l)?.key));
  const points: Spread[] = list.flatMap((l) => {
    const row = named.row(l);
    return row && several.has(row.key) ? [{ name: named.of(row), node: String(l["nodes"]), ratio: Number(l["to_cell"]) }] : [];
  });
  const table = scroll("Nodes", ["row", "nodes", "ratio"], points.map((p) => [p.name, p.node, p.ratio.toFixed(3)]));
  return figure("Spread between nodes", "J per token of a cell on each node, as a ratio to the cell's mean over nodes.", points.length ? globalThis.joulemarkPlots!.spread(points) : null, table);
}

function ceilings(list: Json[], named: Named): HTMLElement {
  const counts = new Map<string, Ceiling & { used: number[]; next: Set<string>; margin: number[] }>();
  for (const l of list) {
    const row = named.byCell.get(String(l["cell"]));
    if (!row) continue;
    const name = `${row.model} ${row.quantization}, ${row.engine}, ${row.devices > 1 ? `${row.devices} × ` : ""}${row.accelerator}`;
    const key = JSON.stringify([name, row.load, l["active"]]);
    const one = counts.get(key) ?? { name, load: row.load, active: String(l["active"]), trials: 0, used: [], next: new Set(), margin: [] };
    one.trials++;
    if (typeof l["utilisation"] === "number") one.used.push(l["utilisation"]);
    if (typeof l["margin"] === "number") one.margin.push(l["margin"]);
    if (l["next"]) one.next.add(String(l["next"]));
    counts.set(key, one);
  }
  const cells = [...counts.values()];
  const mean = (list: number[]) => (list.length ? percent(list.reduce((sum, x) => sum + x, 0) / list.length) : "–");
  const table = scroll(
    "Constraints",
    ["deployment", "load", "constraint", "used", "next", "margin to it", "trials"],
    cells.map((c) => [c.name, c.load, c.active, mean(c.used), [...c.next].join(", ") || "–", mean(c.margin), c.trials]),
  );
  return figure(
    "What binds",
    "The ceiling that each cell's trials ran into; unknown where the evidence is missing. How far it is used, and how much less the next one is, stands in the table.",
    cells.length ? globalThis.joulemarkPlots!.ceilings(cells) : null,
    table,
  );
}
