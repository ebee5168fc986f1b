// The whole state of the page, and its place in the address: a link shows what its sender saw.

import type { Prices } from "./data";
import type { Assumptions } from "./figures";
import { isMetric, type Metric } from "./measures";
import { LATENCIES, type Limits } from "./ranking";

export type View = "table" | "plots" | "compare" | "invalid" | "cell" | "trial";
const VIEWS: View[] = ["table", "plots", "compare", "invalid", "cell", "trial"];

export const FILTERS = [
  "model",
  "architecture",
  "size",
  "quantization",
  "engine",
  "engine_version",
  "accelerator",
  "node",
  "task",
  "load",
  "boundary",
  "fidelity",
  "grade",
  "sweep",
] as const;
export type Filter = (typeof FILTERS)[number];

export interface State extends Assumptions {
  view: View;
  metric: Metric;
  sort: string;
  descending: boolean;
  filters: Partial<Record<Filter, string[]>>;
  search: string;
  best: boolean;
  all: boolean;
  limits: Limits;
  compare: string[];
  columns: string[];
  cell: string;
  trial: string;
  x: string;
  lever: string;
}

export const MOST_COMPARED = 4;

/** What a response is, unless the visitor says. */
export const RESPONSE = { attempts: 1, attemptsFrom: "", response: 150, other: 0 } as const;

export function defaults(prices: Prices): State {
  return {
    view: "table",
    metric: "energy",
    sort: "",
    descending: false,
    filters: {},
    search: "",
    best: false,
    all: false,
    limits: {},
    compare: [],
    columns: [],
    cell: "",
    trial: "",
    x: "itl_p99_ms",
    lever: "",
    price: prices.electricity_per_kwh ?? 0.12,
    pue: prices.pue ?? 1,
    gpuHour: prices.gpu_hour,
    gpuHours: {},
    includesPower: prices.includes_power ?? false,
    utilisation: 1,
    ...RESPONSE,
    otherPrice: 0,
    otherJ: 0,
    budget: null,
  };
}

const PLAIN_TEXT = ["sort", "search", "cell", "trial", "x", "lever", "attemptsFrom"] as const;
const NUMBERS = ["pue", "utilisation", "attempts", "response", "other", "otherPrice", "otherJ"] as const;
const MAYBE = ["price", "gpuHour", "budget"] as const;
const FLAGS = ["descending", "best", "all", "includesPower"] as const;
const LISTS = ["compare", "columns"] as const;

export const LEAST: Record<string, number> = { pue: 1, utilisation: 0.01, attempts: 1, response: 1 };
export const MOST: Record<string, number> = { utilisation: 1 };

/** What of the state differs from the defaults, as the part of the address after `#`. */
export function write(state: State, base: State): string {
  const out = new URLSearchParams();
  if (state.view !== base.view) out.set("view", state.view);
  if (state.metric !== base.metric) out.set("rank", state.metric);
  for (const name of PLAIN_TEXT) if (state[name] !== base[name]) out.set(name, state[name]);
  for (const name of NUMBERS) if (state[name] !== base[name]) out.set(name, String(state[name]));
  for (const name of MAYBE) if (state[name] !== base[name]) out.set(name, state[name] === null ? "" : String(state[name]));
  for (const name of FLAGS) if (state[name] !== base[name]) out.set(name, state[name] ? "1" : "0");
  for (const name of LISTS) for (const one of state[name]) out.append(name, one);
  for (const name of FILTERS) for (const one of state.filters[name] ?? []) out.append(`f.${name}`, one);
  for (const name of Object.keys(state.limits).sort()) out.set(`max.${name}`, String(state.limits[name]));
  for (const name of Object.keys(state.gpuHours).sort()) out.set(`gpu.${name}`, String(state.gpuHours[name]));
  return out.toString();
}

/** The state that an address asks for; what it says wrongly is left at the default. `sources` are those of attempts. */
export function read(hash: string, base: State, sources: string[]): State {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const state: State = { ...base, filters: {}, limits: {}, gpuHours: {}, compare: [], columns: [] };
  const view = given.get("view") as View;
  if (VIEWS.includes(view)) state.view = view;
  const metric = given.get("rank");
  if (isMetric(metric)) state.metric = metric;
  for (const name of PLAIN_TEXT) state[name] = given.get(name) ?? base[name];
  if (!sources.includes(state.attemptsFrom)) state.attemptsFrom = base.attemptsFrom;
  for (const name of NUMBERS) state[name] = within(name, given.get(name)) ?? base[name];
  for (const name of MAYBE) {
    const text = given.get(name);
    if (text !== null) state[name] = text === "" ? null : (within(name, text) ?? base[name]);
  }
  for (const name of FLAGS) state[name] = given.has(name) ? given.get(name) === "1" : base[name];
  state.compare = [...new Set(given.getAll("compare"))].slice(0, MOST_COMPARED);
  state.columns = [...new Set(given.getAll("columns"))];
  for (const name of FILTERS) {
    const wanted = given.getAll(`f.${name}`);
    if (wanted.length) state.filters[name] = wanted;
  }
  for (const name of LATENCIES) {
    const limit = within(name, given.get(`max.${name}`));
    if (limit !== null) state.limits[name] = limit;
  }
  for (const [key, text] of given) {
    const value = within("", text);
    if (key.startsWith("gpu.") && value !== null) state.gpuHours[key.slice(4)] = value;
  }
  return state;
}

/** A number that the field can have, else null. */
export function within(name: string, text: string | null): number | null {
  if (text === null || text.trim() === "") return null;
  const value = Number(text);
  if (!Number.isFinite(value)) return null;
  return value < (LEAST[name] ?? 0) || value > (MOST[name] ?? Infinity) ? null : value;
}
