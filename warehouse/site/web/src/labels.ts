// What a row is called beside others: its model and precision, and whatever else not all of them have in common.

import type { Row } from "./data";

const MORE = ["load", "engine", "engine_version", "accelerator", "kv_type", "tensor", "power_limit_w", "engine_args", "task", "boundary", "fidelity"];

/** A name for each row by its key, no two the same. */
export function labels(rows: Row[]): Map<string, string> {
  const text = (row: Row, name: string) => (name === "accelerator" && row.devices > 1 ? `${row.devices} × ` : "") + String(row[name] ?? "");
  const telling = MORE.filter((name) => new Set(rows.map((row) => text(row, name))).size > 1);
  const words = (row: Row) => telling.map((name) => text(row, name)).filter(Boolean);
  const plain = new Map(rows.map((row) => [row.key, [`${row.model} ${row.quantization}`, ...words(row)].join(", ")]));
  const counts = new Map<string, number>();
  for (const name of plain.values()) counts.set(name, (counts.get(name) ?? 0) + 1);
  return new Map(rows.map((row) => [row.key, counts.get(plain.get(row.key)!) === 1 ? plain.get(row.key)! : `${plain.get(row.key)}, cell ${row.cell.slice(0, 8)}`]));
}
