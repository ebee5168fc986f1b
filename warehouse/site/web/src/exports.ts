// The view as it is, to take away: what is filtered and sorted here is filtered and sorted there.

import type { Column, Line } from "./columns";
import { save } from "./dom";
import type { Model, Shown } from "./model";
import { columns } from "./columns";

const EXTRA = ["rank_worst", "j_low", "j_high"] as const;

export function exportView(kind: "csv" | "json" | "markdown", model: Model, shown: Shown): void {
  const scene = { words: model.core.words, currency: model.currency, attemptsFrom: "", span: () => null };
  const every = columns(scene);
  const lines = shown.groups.flatMap((group) => group.lines);
  if (kind === "json") save("leaderboard-view.json", "application/json", JSON.stringify(lines.map((l) => record(l, every)), null, 1));
  else if (kind === "csv") save("leaderboard-view.csv", "text/csv", csv(lines, every));
  else save("leaderboard-view.md", "text/markdown", markdown(lines, shown.columns));
}

function record(line: Line, every: Column[]): Record<string, unknown> {
  const found: Record<string, unknown> = Object.fromEntries(every.map((c) => [c.id, c.value(line)]));
  const extra = [line.standing?.worst ?? null, line.figures.jLow, line.figures.jHigh];
  EXTRA.forEach((name, i) => (found[name] = extra[i]));
  return found;
}

function csv(lines: Line[], every: Column[]): string {
  const names = [...every.map((c) => c.id), ...EXTRA];
  const rows = lines.map((line) => {
    const found = record(line, every);
    return names.map((name) => field(found[name])).join(",");
  });
  return [names.join(","), ...rows].join("\n") + "\n";
}

/** A field of CSV. Text that a spreadsheet would run as a formula is made text by an apostrophe. */
function field(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string") return String(value);
  const inert = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return `"${inert.replaceAll('"', '""')}"`;
}

function markdown(lines: Line[], shown: Column[]): string {
  const cell = (line: Line, column: Column) => {
    const made = column.show ? column.show(line) : (column.value(line) ?? "–");
    const text = made instanceof Node ? (made.textContent ?? "") : String(made ?? "–");
    return text.replace(/[\\|<>&`*_[\]]/g, "\\$&").replace(/\s+/g, " ");
  };
  const head = [shown.map((c) => c.title), shown.map(() => "---")];
  return [...head, ...lines.map((line) => shown.map((c) => cell(line, c)))].map((row) => `| ${row.join(" | ")} |`).join("\n") + "\n";
}
