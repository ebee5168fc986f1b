// From rows and state to what is shown: figures, ranks, filters, order.

import { columns, needed, size, type Column, type Line, type Scene } from "./columns";
import type { Core, Row } from "./data";
import { figures, type Figures } from "./figures";
import { badness, measure } from "./measures";
import { keeps, published, ranks } from "./ranking";
import { FILTERS, type Filter, type State } from "./state";

export interface Group {
  id: number;
  boundary: string;
  fidelity: string;
  task: string;
  lines: Line[];
  /** rows of the group in all, before filters */
  of: number;
}

export interface Shown {
  groups: Group[];
  count: number;
  /** rows in all, before filters */
  of: number;
  overLimits: number;
  published: boolean;
  columns: Column[];
}

/** What a row has in a filter; of nodes it can have several. */
export function filterValues(row: Row, name: Filter): string[] {
  if (name === "size") return [size(row)];
  if (name === "node") return row["node"] === null ? ["unknown"] : String(row["node"]).split(", ");
  const value = row[name];
  return [value === null || value === undefined ? "unknown" : String(value)];
}

export function options(rows: Row[]): Map<Filter, string[]> {
  const found = new Map<Filter, string[]>();
  for (const name of FILTERS) {
    const values = [...new Set(rows.flatMap((row) => filterValues(row, name)))];
    found.set(name, values.sort((a, b) => a.localeCompare(b, "en", { numeric: true })));
  }
  return found;
}

export class Model {
  readonly byKey: Map<string, Row>;
  readonly options: Map<Filter, string[]>;
  readonly sizes: Map<number, number>;
  readonly currency: string;

  constructor(
    readonly core: Core,
    readonly rows: Row[],
  ) {
    this.byKey = new Map(rows.map((row) => [row.key, row]));
    this.options = options(rows);
    this.sizes = new Map();
    for (const row of rows) this.sizes.set(row.group, (this.sizes.get(row.group) ?? 0) + 1);
    this.currency = core.prices.currency ?? "$";
  }

  lines(state: State): Line[] {
    const all: Figures[] = this.rows.map((row) => figures(row, state));
    const standings = ranks(this.rows, all, state.metric, state, state.limits);
    return this.rows.map((row) => ({ row, figures: all[row.index]!, standing: standings[row.index]! }));
  }

  show(state: State): Shown {
    const lines = this.lines(state);
    const wanted = lines.filter(this.matcher(state));
    let kept = wanted.filter((line) => keeps(line.row, state.limits));
    const overLimits = wanted.length - kept.length;
    if (state.best) kept = bestPerModel(kept, state);
    const spans = intervals(kept);
    const scene: Scene = { words: this.core.words, currency: this.currency, attemptsFrom: state.attemptsFrom, span: (line) => spans.get(line.row.group) ?? null };
    const known = columns(scene);
    const groups = new Map<number, Group>();
    for (const line of kept) {
      const { group: id, boundary, fidelity, task } = line.row;
      let group = groups.get(id);
      if (!group) groups.set(id, (group = { id, boundary, fidelity, task, lines: [], of: this.sizes.get(id) ?? 0 }));
      group.lines.push(line);
    }
    const column = known.find((c) => c.id === state.sort);
    const value = column ? column.value : (line: Line) => badness(line.figures, state.metric);
    for (const group of groups.values()) group.lines = sorted(group.lines, value, column ? state.descending : false);
    const [extra, must] = [new Set(state.columns), needed(state)];
    return {
      groups: [...groups.values()].sort((a, b) => a.id - b.id),
      count: kept.length,
      of: this.rows.length,
      overLimits,
      published: published(state.metric, state, state.limits),
      columns: beside(known.filter((c) => must.has(c.id) || (c.first ?? false) !== extra.has(c.id)), measure(state.metric).columns),
    };
  }

  /** Whether a line is among those asked for; what is asked is read once for all of them. */
  private matcher(state: State): (line: Line) => boolean {
    const filters = FILTERS.filter((name) => state.filters[name]);
    const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
    return ({ row }) => {
      for (const name of filters) if (!filterValues(row, name).some((value) => state.filters[name]!.includes(value))) return false;
      if (!words.length) return true;
      const text = `${row.model} ${row.quantization} ${row.engine} ${row.engine_version} ${row.accelerator} ${row.cell}`.toLowerCase();
      return words.every((one) => text.includes(one));
    };
  }
}

/** The columns with those that are ranked by beside the energy of a token. */
function beside(columns: Column[], ranked: string[]): Column[] {
  const [moved, rest] = [columns.filter((c) => ranked.includes(c.id)), columns.filter((c) => !ranked.includes(c.id))];
  const at = rest.findIndex((c) => c.id === "measured");
  const place = at < 0 ? rest.length : at;
  return [...rest.slice(0, place), ...moved, ...rest.slice(place)];
}

function bestPerModel(lines: Line[], state: State): Line[] {
  const best = new Map<string, Line>();
  for (const line of lines) {
    const value = badness(line.figures, state.metric);
    if (value === null) continue;
    const key = JSON.stringify([line.row.group, line.row.model]);
    const other = best.get(key);
    if (!other || value < badness(other.figures, state.metric)!) best.set(key, line);
  }
  return [...best.values()];
}

function intervals(lines: Line[]): Map<number, [number, number]> {
  const spans = new Map<number, [number, number]>();
  for (const { row, figures: f } of lines) {
    const [low, high] = [f.jLow ?? f.j, f.jHigh ?? f.j];
    if (low === null || high === null) continue;
    const span = spans.get(row.group);
    spans.set(row.group, span ? [Math.min(span[0], low), Math.max(span[1], high)] : [low, high]);
  }
  return spans;
}

/** The lines by a value, which is asked of each line once. */
function sorted(lines: Line[], value: (line: Line) => unknown, descending: boolean): Line[] {
  const sign = descending ? -1 : 1;
  const keyed = lines.map((line) => ({ line, key: value(line) }));
  keyed.sort((a, b) => {
    const [x, y] = [a.key, b.key];
    if (x === null || y === null) return x === y ? a.line.row.index - b.line.row.index : x === null ? 1 : -1;
    if (typeof x === "number" && typeof y === "number") return sign * (x - y) || a.line.row.index - b.line.row.index;
    return sign * String(x).localeCompare(String(y), "en", { numeric: true }) || a.line.row.index - b.line.row.index;
  });
  return keyed.map((k) => k.line);
}
