// The view of plots: what is drawn is what the filters and limits leave.

import { load as loadText } from "./columns";
import { load } from "./data";
import { plots, scroll } from "./detail";
import { el, need, type Child } from "./dom";
import { short } from "./format";
import type { Model, Shown } from "./model";
import type { Point, Pair, Phase, Spread, Ceiling } from "./plots";
import { LATENCIES, valueOf } from "./ranking";
import type { State } from "./state";
import type { Change } from "./table";

type Json = Record<string, unknown>;
let turn = 0;

export async function drawPlots(model: Model, shown: Shown, state: State, change: Change): Promise<void> {
  const mine = ++turn;
  await plots();
  const { plots: tables } = model.core.about;
  const extra = tables.length ? await load<Record<string, Json[]>>("plots", "data/plots.js") : {};
  if (mine !== turn) return; // a later state is being drawn already
  const parts: HTMLElement[] = [];
  for (const group of shown.groups) parts.push(pareto(model, shown, group.id, state, change));
  parts.push(phases(shown));
  const kept = new Set(shown.groups.flatMap((group) => group.lines.map((line) => line.row.cell)));
  if (extra["lever_effects"]?.length) parts.push(levers(extra["lever_effects"], kept, state, change));
  if (extra["node_results"]?.length) parts.push(spread(model, extra["node_results"], kept));
  if (extra["active_constraint"]?.length) parts.push(ceilings(model, extra["active_constraint"], kept));
  need("plots").replaceChildren(...parts);
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
  const points: Point[] = [];
  for (const line of group.lines) {
    const [x, y] = [line.row[state.x], valueOf(line.figures, state.metric)];
    if (typeof x !== "number" || y === null) continue;
    const [low, high] = state.metric === "energy" ? [line.figures.jLow, line.figures.jHigh] : [line.figures.costLow, line.figures.costHigh];
    points.push({ x, y, low, high, name: `${line.row.model} ${line.row.quantization}`, detail: `${line.row.engine} ${line.row.accelerator}, ${loadText(line.row)}`, front: false });
  }
  front(points);
  const what = state.metric === "energy" ? "J per output token" : `${model.currency} per million output tokens`;
  const select = el("select", { id: `x-${id}`, change: () => change({ x: select.value }) }, ...LATENCIES.map((name) => el("option", { value: name, selected: name === state.x }, name.replaceAll("_", " "))));
  const table = scroll(
    `Points: ${group.boundary}, ${group.fidelity}, ${group.task}`,
    ["row", "setting", state.x.replaceAll("_", " "), what, "on the front"],
    points.map((p) => [p.name, p.detail, short(p.x), short(p.y), p.front ? "yes" : "no"]),
  );
  const drawing = points.length ? globalThis.joulemarkPlots!.pareto(points, state.x.replaceAll("_", " "), what) : null;
  return figure(
    `Efficiency against latency: ${group.boundary}, ${group.fidelity}, ${group.task}`,
    "Lower and further left is better. The line joins the rows that no other row beats in both.",
    drawing,
    table,
    el("p", {}, el("label", { for: `x-${id}` }, "latency "), select),
  );
}

/** Mark the points that no other one beats in both. */
export function front(points: Point[]): void {
  let best = Infinity;
  for (const point of [...points].sort((a, b) => a.x - b.x || a.y - b.y)) {
    point.front = point.y < best;
    if (point.front) best = point.y;
  }
}

function phases(shown: Shown): HTMLElement {
  const rows: Phase[] = [];
  for (const group of shown.groups)
    for (const { row } of group.lines.slice(0, 30)) {
      const name = `${row.model} ${row.quantization}, ${loadText(row)}, ${row.accelerator} (${row.boundary})`;
      const idle = row["cold_idle_w"];
      if (typeof idle === "number") rows.push({ name, phase: "cold idle", w: idle });
      if (row.loaded_idle_w !== null) rows.push({ name, phase: "loaded idle", w: row.loaded_idle_w });
      rows.push({ name, phase: "serving", w: row.mean_w });
    }
  const table = scroll("Power by phase", ["row", "phase", "W"], rows.map((r) => [r.name, r.phase, short(r.w)]));
  return figure(
    "Power by phase",
    "Mean power without an engine, with the engine loaded and no requests, and in the window. Energy of prefill and decode apart is not known: nothing measured supports it. The first 30 rows of each group.",
    rows.length ? globalThis.joulemarkPlots!.phases(rows) : null,
    table,
  );
}

function levers(list: Json[], kept: Set<string>, state: State, change: Change): HTMLElement {
  const all = list.filter((l) => kept.has(String(l["cell_a"])) || kept.has(String(l["cell_b"])));
  const names = [...new Set(all.map((l) => String(l["lever"])))].sort();
  const lever = names.includes(state.lever) ? state.lever : (names[0] ?? "");
  const pairs: Pair[] = all
    .filter((l) => l["lever"] === lever)
    .map((l) => ({ name: `${l["value_a"]} → ${l["value_b"]}`, ratio: Number(l["ratio"]), low: l["ratio_low"] as number | null, high: l["ratio_high"] as number | null, told: typeof l["p"] === "number" && l["p"] < 0.05 }));
  const select = el("select", { id: "lever", change: () => change({ lever: select.value }) }, ...names.map((name) => el("option", { value: name, selected: name === lever }, name)));
  const table = scroll("Pairs", ["change", "ratio", "low", "high", "different"], pairs.map((p) => [p.name, short(p.ratio), short(p.low), short(p.high), p.told ? "yes" : "not distinguishable"]));
  return figure(
    "Lever effects",
    "Pairs of cells that differ in this factor alone: J per token of the second over that of the first, with 95 % intervals.",
    pairs.length ? globalThis.joulemarkPlots!.levers(pairs) : null,
    table,
    el("p", {}, el("label", { for: "lever" }, "lever "), select),
  );
}

function spread(model: Model, list: Json[], kept: Set<string>): HTMLElement {
  const names = new Map(model.rows.map((row) => [row.cell, `${row.model} ${row.quantization}, ${loadText(row)}`]));
  const counted = new Map<string, number>();
  for (const l of list) counted.set(`${l["cell"]}${l["boundary"]}`, (counted.get(`${l["cell"]}${l["boundary"]}`) ?? 0) + 1);
  const points: Spread[] = list
    .filter((l) => kept.has(String(l["cell"])) && counted.get(`${l["cell"]}${l["boundary"]}`)! > 1)
    .map((l) => ({ name: `${names.get(String(l["cell"])) ?? l["cell"]} (${l["boundary"]})`, node: (l["nodes"] as string[]).join(" + "), ratio: Number(l["to_cell"]) }));
  const table = scroll("Nodes", ["cell", "nodes", "ratio"], points.map((p) => [p.name, p.node, p.ratio.toFixed(3)]));
  return figure("Spread between nodes", "J per token of a cell on each node, as a ratio to the cell's mean over nodes.", points.length ? globalThis.joulemarkPlots!.spread(points) : null, table);
}

function ceilings(model: Model, list: Json[], kept: Set<string>): HTMLElement {
  const rows = new Map(model.rows.map((row) => [row.cell, row]));
  const counts = new Map<string, Ceiling>();
  for (const l of list) {
    const row = rows.get(String(l["cell"]));
    if (!row || !kept.has(row.cell)) continue;
    const name = `${row.model} ${row.quantization} ${row.accelerator}`;
    const key = JSON.stringify([name, loadText(row), l["active"]]);
    const one = counts.get(key) ?? { name, load: loadText(row), active: String(l["active"]), trials: 0 };
    one.trials++;
    counts.set(key, one);
  }
  const cells = [...counts.values()];
  const table = scroll("Constraints", ["deployment", "load", "constraint", "trials"], cells.map((c) => [c.name, c.load, c.active, c.trials]));
  return figure(
    "What binds",
    "The ceiling that each cell's trials ran into; unknown where the evidence is missing.",
    cells.length ? globalThis.joulemarkPlots!.ceilings(cells) : null,
    table,
  );
}
