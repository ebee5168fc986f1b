// What the publication holds. Data come as scripts, because a page that is opened as a file can load nothing else.

export type Value = string | number | boolean | null;

export interface Words {
  words: string[];
  codes: (number | null)[];
}

export interface Core {
  about: About;
  rows: Record<string, Value[] | Words>;
  words: Record<string, Record<string, string>>;
  prices: Prices;
}

export interface About {
  title: string;
  version: string;
  as_of: string;
  digest: string;
  trials: number;
  valid: number;
  invalid: number;
  failed: number;
  simulated: boolean;
  redacted: boolean;
  sql: boolean;
  traces: boolean;
  plots: string[];
  /** where attempts per response can come from: tasks with scores, and "slo" for the limits on latency */
  attempts: string[];
}

export interface Prices {
  electricity_per_kwh: number | null;
  pue: number | null;
  gpu_hour: number | null;
  includes_power: boolean | null;
  currency: string | null;
  as_of: string | null;
}

/** One row of the leaderboard: a cell in one boundary and fidelity. */
export interface Row {
  index: number;
  key: string;
  cell: string;
  boundary: string;
  fidelity: string;
  grade: string;
  task: string;
  group: number;
  model: string;
  quantization: string;
  engine: string;
  engine_version: string;
  accelerator: string;
  devices: number;
  j: number;
  /** half width of the 95 % interval of the logarithm of j; null where there is one trial */
  half: number | null;
  freedom: number;
  /** sets of nodes, where there are several, and error and degrees of freedom with these taken as given */
  places: string | null;
  within_error: number | null;
  within_freedom: number | null;
  load: string;
  output_tokens_per_s: number;
  mean_w: number;
  loaded_idle_w: number | null;
  rank_best: number;
  rank_worst: number;
  ranked_rows: number;
  simulated: boolean;
  [name: string]: Value;
}

type Waiting = { done: (value: unknown) => void; failed: (error: Error) => void };

const arrived = new Map<string, unknown>();
const waiting = new Map<string, Waiting>();
const asked = new Map<string, Promise<unknown>>();

export function receive(key: string, value: unknown): void {
  arrived.set(key, value);
  waiting.get(key)?.done(value);
}

/** Load the script `file`, which hands over data under `key`. */
export function load<T>(key: string, file: string): Promise<T> {
  const before = asked.get(key);
  if (before) return before as Promise<T>;
  const promise = new Promise<unknown>((done, failed) => {
    if (arrived.has(key)) return done(arrived.get(key));
    waiting.set(key, { done, failed });
    script(file).catch((error: Error) => {
      asked.delete(key);
      failed(error);
    });
  });
  asked.set(key, promise);
  return promise as Promise<T>;
}

export function script(file: string): Promise<void> {
  return new Promise((done, failed) => {
    const element = document.createElement("script");
    element.src = file;
    element.onload = () => done();
    element.onerror = () => failed(new Error(`${file} could not be loaded`));
    document.head.append(element);
  });
}

export function now<T>(key: string): T {
  if (!arrived.has(key)) throw new Error(`data/${key}.js is not there`);
  return arrived.get(key) as T;
}

/** Give the rows the columns that are loaded after the first view. */
export function extend(rows: Row[], columns: Core["rows"]): void {
  rowsOf(columns).forEach((more, i) => Object.assign(rows[i]!, { ...more, index: i, key: rows[i]!.key }));
}

/** The name of a row: its cell, in one boundary and fidelity. */
export function keyOf(line: Record<string, unknown>, cell = "cell"): string {
  return `${String(line[cell]).slice(0, 16)}.${line["boundary"]}.${line["fidelity"]}`;
}

/** Columns back to rows. */
export function rowsOf(columns: Core["rows"]): Row[] {
  const names = Object.keys(columns);
  const first = columns[names[0] ?? ""];
  if (!first) return [];
  const count = Array.isArray(first) ? first.length : first.codes.length;
  const rows: Row[] = [];
  for (let i = 0; i < count; i++) {
    const row: Record<string, Value> = { index: i };
    for (const name of names) {
      const column = columns[name]!;
      if (Array.isArray(column)) row[name] = column[i]!;
      else {
        const code = column.codes[i];
        row[name] = code === null || code === undefined ? null : column.words[code]!;
      }
    }
    row["key"] = keyOf(row);
    rows.push(row as Row);
  }
  return rows;
}
