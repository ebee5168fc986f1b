// Welch's test of two rows, as `joulemark compare` makes it. A test compares it with that.

import type { Row } from "./data";

export interface Difference {
  ratio: number;
  low: number | null;
  high: number | null;
  p: number | null;
}

export const ERROR = 0.05;

export function difference(a: Row, b: Row): Difference {
  const log = Math.log(a.j) - Math.log(b.j);
  const [errorA, errorB] = [standardError(a), standardError(b)];
  if (errorA === null || errorB === null) return { ratio: Math.exp(log), low: null, high: null, p: null };
  const spread = Math.hypot(errorA, errorB);
  const weights = errorA ** 4 / a.freedom + errorB ** 4 / b.freedom;
  const freedom = weights > 0 ? spread ** 4 / weights : Math.min(a.freedom, b.freedom);
  const half = quantile(1 - ERROR / 2, freedom) * spread;
  const t = spread > 0 ? Math.abs(log) / spread : log === 0 ? 0 : Infinity;
  return { ratio: Math.exp(log), low: Math.exp(log - half), high: Math.exp(log + half), p: 2 * upperTail(t, freedom) };
}

function standardError(row: Row): number | null {
  return row.half === null ? null : row.half / quantile(1 - ERROR / 2, row.freedom);
}

/** P(T > t) of Student's t, t >= 0. */
export function upperTail(t: number, freedom: number): number {
  if (!Number.isFinite(t)) return 0;
  return incompleteBeta(freedom / (freedom + t * t), freedom / 2, 0.5) / 2;
}

/** The t with P(T <= t) = q, q above a half. */
export function quantile(q: number, freedom: number): number {
  let [low, high] = [0, 1];
  while (upperTail(high, freedom) > 1 - q) high *= 2;
  for (let i = 0; i < 200 && high - low > 1e-13 * high; i++) {
    const middle = (low + high) / 2;
    if (upperTail(middle, freedom) > 1 - q) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** The regularised incomplete beta function, by its continued fraction (Lentz). */
function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x));
  return x < (a + 1) / (a + b + 2) ? (front * fraction(x, a, b)) / a : 1 - (front * fraction(1 - x, b, a)) / b;
}

function fraction(x: number, a: number, b: number): number {
  const tiny = 1e-300;
  let c = 1;
  let d = 1 - ((a + b) * x) / (a + 1);
  d = 1 / (Math.abs(d) < tiny ? tiny : d);
  let result = d;
  for (let m = 1; m < 500; m++) {
    for (const factor of [
      (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)),
      (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)),
    ]) {
      d = 1 + factor * d;
      d = 1 / (Math.abs(d) < tiny ? tiny : d);
      c = 1 + factor / c;
      if (Math.abs(c) < tiny) c = tiny;
      result *= c * d;
    }
    if (Math.abs(c * d - 1) < 1e-15) break;
  }
  return result;
}

/** Stirling's series, after shifting the argument above 12. */
function logGamma(x: number): number {
  let shift = 0;
  while (x < 12) {
    shift -= Math.log(x);
    x += 1;
  }
  const s = 1 / (x * x);
  const series = (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s / 1188)))) / x;
  return shift + (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI) + series;
}
