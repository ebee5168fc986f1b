// Two to four rows, factor by factor: what differs, and whether the energy per token can be told apart.

import type { Row } from "./data";
import { el, need } from "./dom";
import { figures } from "./figures";
import { money, short } from "./format";
import type { Model } from "./model";
import { difference, ERROR } from "./statistics";
import type { State } from "./state";
import type { Change } from "./table";

const FACTORS: [string, string][] = [
  ["model", "model"],
  ["architecture", "architecture"],
  ["total_params", "parameters"],
  ["active_params", "active parameters"],
  ["quantization", "precision"],
  ["kv_type", "KV cache"],
  ["engine", "engine"],
  ["engine_version", "version"],
  ["engine_args", "engine arguments"],
  ["accelerator", "accelerator"],
  ["devices", "devices"],
  ["tensor", "tensor parallel"],
  ["pipeline", "pipeline stages"],
  ["data_parallel", "data parallel"],
  ["expert", "expert parallel"],
  ["spanned_nodes", "nodes of one deployment"],
  ["client", "load client"],
  ["power_limit_w", "power limit W"],
  ["task", "task"],
  ["load", "load"],
  ["boundary", "boundary"],
  ["fidelity", "fidelity"],
  ["grade", "grade"],
];

export function drawCompare(model: Model, state: State, change: Change): void {
  const rows = state.compare.map((key) => model.byKey.get(key)).filter((row): row is Row => row !== undefined);
  const place = need("compare");
  if (rows.length < 2) {
    place.replaceChildren(el("p", { class: "empty" }, "Choose two to four rows of the table, in the column compare."));
    return;
  }
  const name = (i: number) => String.fromCharCode(97 + i);
  place.replaceChildren(
    el("h2", {}, "What differs"),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Factors side by side" }, factors(model, rows, state, name, change)),
    el("h2", {}, "Can they be told apart?"),
    el("ul", { class: "verdicts" }, ...pairs(rows).map(([i, j]) => verdict(rows[i]!, rows[j]!, name(i), name(j)))),
    el("p", { class: "meaning" }, "Welch's test on the logarithms of the trials' J per output token, each pair by itself, as ", el("code", {}, "joulemark compare"), " makes it. A sensor's gain error, common to all figures of a device, is not in it."),
  );
}

function factors(model: Model, rows: Row[], state: State, name: (i: number) => string, change: Change): HTMLElement {
  const head = el(
    "thead",
    {},
    el(
      "tr",
      {},
      el("th", { scope: "col" }, "factor"),
      ...rows.map((row, i) =>
        el("th", { scope: "col" }, el("a", { href: `#view=cell&cell=${encodeURIComponent(row.cell)}`, title: "its trials" }, name(i)), " ", el("button", { class: "drop", "aria-label": `leave ${name(i)} out`, click: () => change({ compare: state.compare.filter((k) => k !== row.key) }) }, "×")),
      ),
    ),
  );
  const value = (row: Row, key: string) => (row[key] === null || row[key] === undefined || row[key] === "{}" ? "–" : String(row[key]));
  const lines = FACTORS.map(([key, title]) => line(title, rows.map((row) => value(row, key))));
  const all = rows.map((row) => figures(row, state));
  const number = (title: string, texts: string[]) => line(title, texts, false);
  lines.push(
    number("J/token", all.map((f) => `${short(f.j)} ${f.jLow === null ? "one trial" : `[${short(f.jLow)}, ${short(f.jHigh)}]`}`)),
    number("tokens/s", all.map((f) => short(f.rate))),
    number("W", all.map((f) => short(f.watts))),
    number("TTFT p99 ms", rows.map((r) => short(r["ttft_p99_ms"] as number | null))),
    number("ITL p99 ms", rows.map((r) => short(r["itl_p99_ms"] as number | null))),
    number("cost per M tokens", all.map((f) => money(f.cost, model.currency))),
    number("trials", rows.map((r) => String(r["trials_valid"]))),
  );
  return el("table", { class: "factors" }, el("caption", { class: "unseen" }, "Factors side by side"), head, el("tbody", {}, ...lines));
}

function line(title: string, texts: string[], mark = true): HTMLElement {
  const differs = mark && new Set(texts).size > 1;
  return el("tr", { class: differs ? "differs" : null }, el("th", { scope: "row" }, title, differs ? el("span", { class: "unseen" }, " (differs)") : null), ...texts.map((text) => el("td", {}, text)));
}

function pairs(rows: Row[]): [number, number][] {
  const found: [number, number][] = [];
  for (let i = 0; i < rows.length; i++) for (let j = i + 1; j < rows.length; j++) found.push([i, j]);
  return found;
}

function verdict(a: Row, b: Row, nameA: string, nameB: string): HTMLElement {
  const pair = `${nameA} and ${nameB}`;
  if (a.cell === b.cell && a.boundary === b.boundary && a.fidelity === b.fidelity) return el("li", {}, `${pair} are the same row.`);
  if (a.boundary !== b.boundary || a.fidelity !== b.fidelity)
    return el("li", {}, el("b", {}, `${pair}: not comparable. `), "Their energies contain different things, or arise differently.");
  const d = difference(a, b);
  const note = a.task === b.task ? "" : " They were asked for different lengths of prompt or answer.";
  const effect = `${nameA} uses ${short(d.ratio)} times the energy of ${nameB} per output token`;
  if (d.p === null) return el("li", {}, el("b", {}, `${pair}: not distinguishable. `), `${effect}; a row with one trial has no interval.${note}`);
  const test = `${effect} [${short(d.low)}, ${short(d.high)}], p = ${d.p < 1e-4 ? d.p.toExponential(1) : d.p.toPrecision(2)}.`;
  const told = d.p < ERROR;
  return el("li", { "data-p": d.p, "data-ratio": d.ratio, "data-low": d.low, "data-high": d.high }, el("b", { class: told ? "told" : "untold" }, `${pair}: ${told ? "different" : "not distinguishable"}. `), test + note);
}
