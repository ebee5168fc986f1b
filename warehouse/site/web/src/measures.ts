// What rows can be ranked by.

import type { Figures } from "./figures";

type Maybe = number | null;

export interface Measure {
  /** as the choice in the page says it */
  title: string;
  /** with its unit, where "$" stands for the currency */
  unit: string;
  /** whether more of it is better */
  more: boolean;
  value: (f: Figures) => Maybe;
  low: (f: Figures) => Maybe;
  high: (f: Figures) => Maybe;
  /** columns that show it */
  columns: string[];
}

export const MEASURES = {
  energy: { title: "energy per token", unit: "J per output token", more: false, value: (f) => f.j, low: (f) => f.jLow, high: (f) => f.jHigh, columns: ["j_per_token"] },
  cost: { title: "cost", unit: "$ per million output tokens", more: false, value: (f) => f.cost, low: (f) => f.costLow, high: (f) => f.costHigh, columns: ["cost_per_million"] },
  "response-energy": { title: "energy per response", unit: "J per response", more: false, value: (f) => f.responseJ, low: (f) => f.responseJLow, high: (f) => f.responseJHigh, columns: ["attempts", "j_per_response"] },
  "response-cost": { title: "cost per response", unit: "$ per response", more: false, value: (f) => f.responseCost, low: (f) => f.responseCostLow, high: (f) => f.responseCostHigh, columns: ["attempts", "cost_per_response"] },
  output: { title: "tokens within the power budget", unit: "output tokens per second of the site", more: true, value: (f) => f.siteRate, low: (f) => f.siteRateLow, high: (f) => f.siteRateHigh, columns: ["deployments", "site_tokens_per_s"] },
} satisfies Record<string, Measure>;

export type Metric = keyof typeof MEASURES;

export function isMetric(name: string | null): name is Metric {
  return name !== null && Object.hasOwn(MEASURES, name);
}

export function measure(metric: Metric): Measure {
  return MEASURES[metric];
}

/** The figure with the best lowest, whatever it is. */
export function badness(figures: Figures, metric: Metric): Maybe {
  const { value, more } = measure(metric);
  return signed(value(figures), more);
}

/** The interval of the badness. */
export function span(figures: Figures, metric: Metric): [Maybe, Maybe] {
  const { low, high, more } = measure(metric);
  return more ? [signed(high(figures), more), signed(low(figures), more)] : [low(figures), high(figures)];
}

function signed(value: Maybe, more: boolean): Maybe {
  return value === null || !more ? value : -value;
}
