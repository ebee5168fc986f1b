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
  responseJ: number | null;
  responseCost: number | null;
  deployments: number | null;
  siteRate: number | null;
}

const J_PER_KWH = 3.6e6;
const MILLION = 1e6;

export function electricityKwh(joules: number, boundary: string, pue: number): number {
  return (joules / J_PER_KWH) * (boundary === "facility" ? 1 : pue);
}

export function costPerResponse(tokens: number, attempts: number, perToken: number, other: number, perOther: number): number {
  return tokens * attempts * perToken + other * perOther;
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
  const siteWatts = watts === null ? null : (row.boundary === "facility" ? 1 : a.pue) * watts;
  const deployments = a.budget === null || !siteWatts ? null : Math.floor(a.budget / siteWatts);
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
    costLow: jLow === null ? null : total(jLow),
    costHigh: jHigh === null ? null : total(jHigh),
    perMoney: cost === null || cost === 0 ? null : MILLION / cost,
    responseJ: j === null ? null : costPerResponse(a.response, a.attempts, j, a.other, a.otherJ),
    responseCost: cost === null ? null : costPerResponse(a.response, a.attempts, cost / MILLION, a.other, a.otherPrice),
    deployments,
    siteRate: deployments === null ? null : deployments * rate,
  };
}
