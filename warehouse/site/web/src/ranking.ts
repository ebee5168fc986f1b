// Rank ranges among comparable rows: same boundary, fidelity and task.

import type { Row } from "./data";
import type { Assumptions, Figures } from "./figures";
import { badness, span, type Metric } from "./measures";

export interface Standing {
  best: number;
  worst: number;
  of: number;
}

/** Latency limits in milliseconds by the name of the row's column. */
export type Limits = Record<string, number>;

export const LATENCIES = ["ttft_p50_ms", "ttft_p99_ms", "tpot_p50_ms", "itl_p50_ms", "itl_p99_ms", "e2e_p50_ms"] as const;

/** Whether a row keeps all limits; a latency that is not known misses every limit. */
export function keeps(row: Row, limits: Limits): boolean {
  for (const name in limits) {
    const value = row[name];
    if (typeof value !== "number" || value > limits[name]!) return false;
  }
  return true;
}

/** Whether the published ranks hold: energy per token as measured, among all comparable rows. */
export function published(metric: Metric, a: Assumptions, limits: Limits): boolean {
  return metric === "energy" && a.utilisation === 1 && Object.keys(limits).length === 0;
}

/**
 * Rank ranges by index of the row. Where the published ones do not hold: 1 + the rows whose interval lies wholly below,
 * to the rows less those whose interval lies wholly above. A row without an interval is told apart from none.
 */
export function ranks(rows: Row[], all: Figures[], metric: Metric, a: Assumptions, limits: Limits): (Standing | null)[] {
  const standings: (Standing | null)[] = new Array(all.length).fill(null);
  if (published(metric, a, limits)) {
    for (const row of rows) standings[row.index] = { best: row.rank_best, worst: row.rank_worst, of: row.ranked_rows };
    return standings;
  }
  const groups = new Map<number, Row[]>();
  for (const row of rows) {
    if (badness(all[row.index]!, metric) === null || !keeps(row, limits)) continue;
    const group = groups.get(row.group);
    if (group) group.push(row);
    else groups.set(row.group, [row]);
  }
  for (const group of groups.values()) {
    const lows: number[] = [];
    const highs: number[] = [];
    for (const row of group) {
      const [low, high] = span(all[row.index]!, metric);
      if (low === null || high === null) continue;
      lows.push(low);
      highs.push(high);
    }
    const [upwards, tops] = [Float64Array.from(lows).sort(), Float64Array.from(highs).sort()];
    for (const row of group) {
      const [low, high] = span(all[row.index]!, metric);
      const better = low === null ? 0 : below(tops, low);
      const worse = high === null ? 0 : upwards.length - notAbove(upwards, high);
      standings[row.index] = { best: 1 + better, worst: group.length - worse, of: group.length };
    }
  }
  return standings;
}

/** How many of the sorted numbers are below `limit`. */
function below(sorted: Float64Array, limit: number): number {
  return partition(sorted, (value) => value < limit);
}

/** How many of the sorted numbers are not above `limit`. */
function notAbove(sorted: Float64Array, limit: number): number {
  return partition(sorted, (value) => value <= limit);
}

function partition(sorted: Float64Array, holds: (value: number) => boolean): number {
  let [from, to] = [0, sorted.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (holds(sorted[middle]!)) from = middle + 1;
    else to = middle;
  }
  return from;
}
