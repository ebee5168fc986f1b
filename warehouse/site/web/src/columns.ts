// The columns of the table: what each is called, what it means, what it shows and sorts by.

import type { Core, Row, Value } from "./data";
import { el, svg, word, type Child } from "./dom";
import { attemptsColumn, type Figures } from "./figures";
import { range, short } from "./format";
import { measure } from "./measures";
import type { Standing } from "./ranking";
import { RESPONSE, type State } from "./state";

export interface Line {
  row: Row;
  figures: Figures;
  standing: Standing | null;
}

export interface Column {
  id: string;
  title: string;
  meaning: string;
  value: (line: Line) => Value;
  show?: (line: Line) => Child;
  number?: boolean;
  /** shown without being asked for */
  first?: boolean;
  /** of no use as a column of an exported table */
  pageOnly?: boolean;
}

export interface Scene {
  words: Core["words"];
  currency: string;
  attemptsFrom: string;
  /** lowest and highest end of an interval, for the little bars */
  span: (line: Line) => [number, number] | null;
}

/** Columns that are shown because an assumption or the ranking is about them. */
export function needed(state: State): Set<string> {
  const found = new Set(measure(state.metric).columns);
  if (state.budget !== null) for (const id of ["deployments", "site_tokens_per_s"]) found.add(id);
  const asked = (Object.keys(RESPONSE) as (keyof typeof RESPONSE)[]).some((name) => state[name] !== RESPONSE[name]);
  if (asked) for (const id of ["j_per_response", "cost_per_response"]) found.add(id);
  if (state.attemptsFrom) found.add("attempts");
  return found;
}

export function size(row: Row): string {
  const params = row["total_params"];
  if (typeof params !== "number") return "unknown";
  for (const [limit, name] of [[1e9, "under 1 B"], [4e9, "1–4 B"], [15e9, "4–15 B"], [80e9, "15–80 B"]] as [number, string][])
    if (params < limit) return name;
  return "over 80 B";
}

export function columns(scene: Scene): Column[] {
  const factor = (id: string, title: string, meaning: string, first = false): Column => ({
    id,
    title,
    meaning,
    first,
    value: (line) => line.row[id] ?? null,
    number: false,
  });
  const figure = (id: string, title: string, meaning: string, value: (line: Line) => number | null, first = false): Column => ({
    id,
    title,
    meaning,
    first,
    value,
    show: (line) => short(value(line)),
    number: true,
  });
  const latency = (id: string, title: string, meaning: string, first = false) =>
    figure(id, title, meaning, (line) => line.row[id] as number | null, first);
  const price = (id: string, title: string, meaning: string, value: (line: Line) => number | null, first = false): Column => ({
    ...figure(id, title, meaning, value, first),
    title: `${scene.currency} ${title}`,
  });
  return [
    {
      id: "rank",
      title: "rank",
      meaning: "rank range among comparable rows: 1 + rows significantly better, to rows less those significantly worse",
      first: true,
      number: true,
      value: (line) => line.standing?.best ?? null,
      show: (line) => (line.standing ? range(line.standing.best, line.standing.worst) : "–"),
    },
    {
      ...factor("model", "model", "model as the sweep names it", true),
      show: ({ row }) =>
        el(
          "span",
          {},
          el("b", {}, row.model),
          row["architecture"] === "moe" ? word("MoE", "mixture of experts", "tag") : null,
          row.simulated ? word("simulated", "made by the simulator: not a measurement", "tag alarm") : null,
        ),
    },
    factor("quantization", "precision", "precision of the weights", true),
    {
      ...factor("engine", "engine", "engine and its exact version", true),
      show: ({ row }) => el("span", {}, row.engine, " ", el("small", { class: "under" }, row.engine_version)),
    },
    {
      ...factor("accelerator", "accelerator", "what it runs on, and how many of them", true),
      show: ({ row }) => (row.devices > 1 ? `${row.devices} × ${row.accelerator}` : row.accelerator),
    },
    factor("load", "load", "requests in flight, or how they arrive", true),
    {
      id: "j_per_token",
      title: "J/token",
      meaning: "energy per output token with its 95 % interval, at your utilisation",
      first: true,
      number: true,
      value: (line) => line.figures.j,
      show: (line) => energy(line, scene),
    },
    {
      id: "measured",
      title: "measured",
      meaning: "boundary (what the energy contains), fidelity (how the number arises) and grade (how much measuring is behind it)",
      first: true,
      value: ({ row }) => `${row.boundary}, ${row.fidelity}, ${row.grade}`,
      show: ({ row }) =>
        el(
          "span",
          {},
          word(row.boundary, scene.words["boundaries"]?.[row.boundary]),
          " ",
          word(row.fidelity, scene.words["fidelities"]?.[row.fidelity], row.simulated ? "tag alarm" : "word"),
          " ",
          el("small", { class: "under" }, word(row.grade, scene.words["grades"]?.[row.grade])),
        ),
    },
    { ...factor("grade", "grade", "how much measuring is behind the row"), show: ({ row }) => word(row.grade, scene.words["grades"]?.[row.grade]) },
    figure("tokens_per_joule", "tokens/J", "output tokens per joule", (l) => l.figures.perJ),
    figure("tokens_per_s", "tokens/s", "output tokens per second, at your utilisation", (l) => l.figures.rate, true),
    figure("mean_w", "W", "mean power in the boundary, at your utilisation", (l) => l.figures.watts, true),
    latency("ttft_p50_ms", "TTFT p50 ms", "time to the first token, median of each trial"),
    latency("ttft_p99_ms", "TTFT p99 ms", "time to the first token, 99th percentile of each trial", true),
    latency("tpot_p50_ms", "TPOT p50 ms", "time per output token without the first, median of each trial"),
    latency("itl_p50_ms", "ITL p50 ms", "gap between tokens, median of each trial"),
    latency("itl_p99_ms", "ITL p99 ms", "gap between tokens, 99th percentile of each trial", true),
    latency("e2e_p50_ms", "end to end p50 ms", "time to the last token, median of each trial"),
    figure("kwh_per_million", "kWh per M tokens", "electricity for a million output tokens, times your PUE", (l) => l.figures.kwh),
    price("gpu_cost_per_million", "of GPU-hours per M tokens", "GPU-hours for a million output tokens, at your price", (l) => l.figures.gpuCost),
    price("power_cost_per_million", "of power per M tokens", "electricity for a million output tokens, at your price", (l) => l.figures.powerCost),
    {
      ...price("cost_per_million", "per M tokens", "GPU-hours and electricity for a million output tokens, at your prices", (l) => l.figures.cost, true),
    },
    figure("tokens_per_money", `tokens per ${scene.currency}`, "output tokens for one unit of the currency", (l) => l.figures.perMoney),
    {
      ...figure("attempts", "attempts", "how often a response is tried until it is of use, and where that is from", (l) => l.figures.attempts),
      show: (line) => el("span", {}, short(line.figures.attempts), source(line.row, scene.attemptsFrom)),
    },
    figure("j_per_response", "J per response", "tokens × attempts × J/token, and the tokens around it", (l) => l.figures.responseJ),
    price("cost_per_response", "per response", "tokens × attempts × cost per token, and the tokens around it", (l) => l.figures.responseCost),
    figure("deployments", "deployments", "how many of these your power budget carries", (l) => l.figures.deployments),
    figure("site_tokens_per_s", "site tokens/s", "their output tokens per second together", (l) => l.figures.siteRate),
    figure("loaded_idle_w", "idle W", "mean power with the engine loaded and no requests", (l) => l.row.loaded_idle_w),
    figure("peak_w", "peak W", "highest power of any trial", (l) => l.row["peak_w"] as number | null),
    {
      id: "trials",
      title: "trials",
      meaning: "valid trials; failed and invalid ones behind them",
      first: true,
      number: true,
      value: ({ row }) => row["trials_valid"] ?? null,
      show: ({ row }) => trials(row),
    },
    factor("boundary", "boundary", "what the energy contains"),
    factor("fidelity", "fidelity", "how the number arises"),
    factor("kv_type", "KV cache", "type of the KV cache"),
    factor("engine_version", "version", "exact version of the engine"),
    factor("architecture", "architecture", "dense or mixture of experts"),
    figure("total_params", "parameters", "all parameters of the model", (l) => l.row["total_params"] as number | null),
    figure("active_params", "active parameters", "parameters that work on one token", (l) => l.row["active_params"] as number | null),
    figure("tensor", "TP", "tensor-parallel degree", (l) => l.row["tensor"] as number | null),
    figure("power_limit_w", "power limit W", "power limit that was asked for", (l) => l.row["power_limit_w"] as number | null),
    factor("node", "nodes", "nodes that its valid trials ran on"),
    factor("task", "task", "what each request asks"),
    factor("sweep", "sweep", "sweep of the latest trial"),
    factor("cell", "cell", "name of the cell: the hash of its factors"),
  ];
}

function energy(line: Line, scene: Scene): Child {
  const { j, jLow, jHigh } = line.figures;
  if (j === null) return word("–", "the loaded idle power was not measured");
  if (jLow === null || jHigh === null)
    return el("span", {}, short(j), " ", word("one trial", "one trial has no interval", "interval under"));
  return el("span", {}, short(j), " ", el("span", { class: "interval under" }, `[${short(jLow)}, ${short(jHigh)}]`), bar(line, scene));
}

/** A small bar that shows the interval between the lowest and the highest of the group, on a logarithmic scale. */
function bar(line: Line, scene: Scene): Child {
  const span = scene.span(line);
  const { j, jLow, jHigh } = line.figures;
  if (!span || j === null || jLow === null || jHigh === null || span[0] >= span[1] || jLow <= 0) return null;
  const at = (value: number) => (100 * Math.log(value / span[0])) / Math.log(span[1] / span[0]);
  return svg(
    "svg",
    { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
    svg("line", { x1: 0, x2: 100, y1: 4, y2: 4, class: "rail" }),
    svg("line", { x1: at(jLow), x2: Math.max(at(jHigh), at(jLow) + 0.5), y1: 4, y2: 4, class: "reach" }),
    svg("line", { x1: at(j), x2: at(j), y1: 0, y2: 8, class: "point" }),
  );
}

/** What the attempts of a row rest on, where they are the publication's. */
function source(row: Row, from: string): Child {
  const told = from ? row[`attempts from: ${from}`] : null;
  if (told === null || told === undefined) return null;
  return el("small", { class: "under" }, told === "slo" ? "limits on latency" : `score in ${from}`);
}

function trials(row: Row): Child {
  const [bad, failed] = [Number(row["trials_invalid"] ?? 0), Number(row["trials_failed"] ?? 0)];
  const rest = [bad ? `${bad} invalid` : "", failed ? `${failed} failed` : ""].filter(Boolean).join(", ");
  return el("span", {}, String(row["trials_valid"]), rest ? el("small", {}, ` (${rest})`) : null);
}
