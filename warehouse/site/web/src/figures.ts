// What a row comes to under the visitor's assumptions. The same definitions as the views `cost`, `utilisation_adjusted`,
// `electricity_kwh`, `cost_per_response` and `facility`: a test compares them for random assumptions.

import type { Row } from "./data";

export interface Assumptions {
  /** price of a kWh */
  price: number | null;
  pue: number;
  /** price of an hour of one accelerator, where `gpuHours` names none for it */
  gpuHour: number | null;
  gpuHours: Record<string, number>;
  includesPower: boolean;
  /** share of the time that the engine is busy, above 0 to 1 */
  utilisation: number;
  attempts: number;
  /** where the attempts come from instead: a task whose scores are known, or the limits on latency */
  attemptsFrom: string;
  /** tokens of one response */
  response: number;
  /** tokens around it (guards, checks), and what one costs */
  other: number;
  otherPrice: number;
  otherJ: number;
  /** power of the whole site in watts */
  budget: number | null;
}

export interface Figures {
  j: number | null;
  jLow: number | null;
  jHigh: number | null;
  perJ: number | null;
  rate: number | null;
  watts: number | null;
  kwh: number | null;
  gpuCost: number | null;
  powerCost: number | null;
  cost: number | null;
  costLow: number | null;
  costHigh: number | null;
  perMoney: number | null;
  attempts: number | null;
  responseJ: number | null;
  responseJLow: number | null;
  responseJHigh: number | null;
  responseCost: number | null;
  responseCostLow: number | null;
  responseCostHigh: number | null;
  deployments: number | null;
  siteRate: number | null;
  siteRateLow: number | null;
  siteRateHigh: number | null;
}

const J_PER_KWH = 3.6e6;
const MILLION = 1e6;

export function electricityKwh(joules: number, boundary: string, pue: number): number {
  return (joules / J_PER_KWH) * (boundary === "facility" ? 1 : pue);
}

export function costPerResponse(tokens: number, attempts: number, perToken: number, other: number, perOther: number): number {
  return tokens * attempts * perToken + other * perOther;
}

/** Column of the row that holds the attempts from a source. */
export function attemptsColumn(source: string): string {
  return `attempts: ${source}`;
}

export function figures(row: Row, a: Assumptions): Figures {
  const u = a.utilisation;
  const busy = row.output_tokens_per_s;
  const idle = row.loaded_idle_w;
  const rate = u === 1 ? busy : u * busy;
  const watts = u === 1 ? row.mean_w : idle === null ? null : u * row.mean_w + (1 - u) * idle;
  const j = u === 1 ? row.j : watts === null ? null : watts / rate;
  const spread = row.half === null ? null : Math.exp(row.half);
  const jLow = j === null || spread === null ? null : j / spread;
  const jHigh = j === null || spread === null ? null : j * spread;

  const kwhOf = (joules: number | null) => (joules === null ? null : electricityKwh(joules * MILLION, row.boundary, a.pue));
  const hourPrice = Object.hasOwn(a.gpuHours, row.accelerator) ? a.gpuHours[row.accelerator]! : a.gpuHour;
  const hours = (row.devices / rate / 3600) * MILLION;
  const gpuCost = row.devices === 0 ? 0 : hourPrice === null ? null : hours * hourPrice;
  const included = a.includesPower && row.devices > 0;
  const power = (joules: number | null): number | null => {
    if (included) return 0;
    const kwh = kwhOf(joules);
    return kwh === null || a.price === null ? null : kwh * a.price;
  };
  const total = (joules: number | null): number | null => {
    const part = power(joules);
    return gpuCost === null || part === null ? null : gpuCost + part;
  };
  const cost = total(j);
  const costLow = jLow === null ? null : total(jLow);
  const costHigh = jHigh === null ? null : total(jHigh);
  const attempts = a.attemptsFrom ? ((row[attemptsColumn(a.attemptsFrom)] ?? null) as number | null) : a.attempts;
  const response = (perToken: number | null, perOther: number) =>
    perToken === null || attempts === null ? null : costPerResponse(a.response, attempts, perToken, a.other, perOther);
  const responseCost = (perMillion: number | null) => response(perMillion === null ? null : perMillion / MILLION, a.otherPrice);
  const fitting = (siteWatts: number | null) => (a.budget === null || !siteWatts ? null : Math.floor(a.budget / ((row.boundary === "facility" ? 1 : a.pue) * siteWatts)));
  const site = (fit: number | null) => (fit === null ? null : fit * rate);
  const deployments = fitting(watts);
  return {
    j,
    jLow,
    jHigh,
    perJ: j === null || j === 0 ? null : 1 / j,
    rate,
    watts,
    kwh: kwhOf(j),
    gpuCost,
    powerCost: power(j),
    cost,
    costLow,
    costHigh,
    perMoney: cost === null || cost === 0 ? null : MILLION / cost,
    attempts,
    responseJ: response(j, a.otherJ),
    responseJLow: response(jLow, a.otherJ),
    responseJHigh: response(jHigh, a.otherJ),
    responseCost: responseCost(cost),
    responseCostLow: responseCost(costLow),
    responseCostHigh: responseCost(costHigh),
    deployments,
    siteRate: site(deployments),
    // Power is as sure as the energy of a token is, at the measured rate.
    siteRateLow: watts === null || spread === null ? null : site(fitting(watts * spread)),
    siteRateHigh: watts === null || spread === null ? null : site(fitting(watts / spread)),
  };
}
