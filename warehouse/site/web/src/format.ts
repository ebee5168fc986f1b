// Numbers for people: three significant digits, as `joulemark leaderboard` shows them.

export function short(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  if (size !== 0 && size < 1e-4) return value.toExponential(2);
  return value.toPrecision(3).replace(/\.$/, "");
}

export function money(value: number | null | undefined, currency: string): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return `${short(value)} ${currency}`;
}

export function count(value: number, one: string, many = `${one}s`): string {
  return `${value.toLocaleString("en-US")} ${value === 1 ? one : many}`;
}

export function bytes(value: number): string {
  if (value < 1000) return `${value} B`;
  return value < 1e6 ? `${short(value / 1e3)} kB` : `${short(value / 1e6)} MB`;
}

export function range(best: number, worst: number): string {
  return best === worst ? String(best) : `${best}–${worst}`;
}

export function percent(value: number): string {
  return `${Number((value * 100).toFixed(1))} %`;
}
