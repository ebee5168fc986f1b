// The tables of the leaderboard: one for each group of comparable rows.

import type { Column, Line } from "./columns";
import { el, need } from "./dom";
import { count } from "./format";
import type { Group, Model, Shown } from "./model";
import { MOST_COMPARED, type State } from "./state";

/** Rows of a group that are shown at once; the button below shows all. */
export const PAGE = 50;

export type Change = (changes: Partial<State>) => void;

export function drawTables(model: Model, shown: Shown, state: State, change: Change): void {
  const place = need("groups");
  const focus = focused();
  place.replaceChildren(...shown.groups.map((group) => section(model, group, shown, state, change)));
  if (!shown.groups.length) place.append(el("p", { class: "empty" }, "No row keeps these limits and filters."));
  if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
  need("count").textContent = summary(shown, state);
}

function focused(): string {
  const active = document.activeElement;
  return active && need("groups").contains(active) ? active.id : "";
}

function summary(shown: Shown, state: State): string {
  const over = shown.overLimits ? `; ${count(shown.overLimits, "row")} over your latency limits or without that figure` : "";
  const how = shown.published
    ? "Ranks are the published ones (Holm's test)."
    : `Ranks under your assumptions, by ${state.metric === "energy" ? "energy per token" : "cost"}: intervals that do not overlap, not corrected for the number of comparisons.`;
  return `${count(shown.count, "row")}${over}. ${how}`;
}

function section(model: Model, group: Group, shown: Shown, state: State, change: Change): HTMLElement {
  const { words } = model.core;
  const title = `${group.boundary}, ${group.fidelity}: ${group.task}`;
  const lines = state.all ? group.lines : group.lines.slice(0, PAGE);
  const more = group.lines.length - lines.length;
  return el(
    "section",
    { class: "group", "aria-label": title },
    el("h2", {}, title),
    el("p", { class: "meaning" }, `${words["boundaries"]?.[group.boundary] ?? ""}; ${words["fidelities"]?.[group.fidelity] ?? ""}.`),
    el(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": `Table: ${title}` },
      el("table", {}, el("caption", { class: "unseen" }, title), head(group, shown.columns, state, change), body(lines, shown.columns, state, change)),
    ),
    more > 0 ? el("button", { class: "more", click: () => change({ all: true }) }, `Show all ${group.lines.length} rows`) : null,
  );
}

function head(group: Group, columns: Column[], state: State, change: Change): HTMLElement {
  const cells = columns.map((column) => {
    const on = state.sort === column.id;
    const sorted = on ? (state.descending ? "descending" : "ascending") : null;
    const click = () =>
      // Once up, twice down, three times back to the order of the ranking.
      change(on && state.descending ? { sort: "", descending: false } : { sort: column.id, descending: on });
    const button = el("button", { id: `sort-${group.id}-${column.id}`, title: column.meaning, click }, column.title, on ? (state.descending ? " ↓" : " ↑") : "");
    return el("th", { scope: "col", class: column.number ? "number" : null, "aria-sort": sorted }, button);
  });
  return el("thead", {}, el("tr", {}, ...cells, el("th", { scope: "col" }, "compare")));
}

function body(lines: Line[], columns: Column[], state: State, change: Change): HTMLElement {
  const rows = lines.map((line) => {
    const cells = columns.map((column) => {
      const raw = column.value(line);
      const shown = column.show ? column.show(line) : raw === null ? "–" : String(raw);
      const attributes = { class: column.number ? "number" : null, "data-label": column.title, "data-column": column.id, "data-value": raw === null ? "" : String(raw) };
      if (column.id !== "model") return el("td", attributes, shown);
      return el("th", { ...attributes, scope: "row" }, el("a", { href: `#view=cell&cell=${encodeURIComponent(line.row.cell)}` }, shown));
    });
    return el("tr", { "data-key": line.row.key, class: line.row.simulated ? "simulated" : null }, ...cells, picker(line, state, change));
  });
  return el("tbody", {}, ...rows);
}

function picker(line: Line, state: State, change: Change): HTMLElement {
  const { row } = line;
  const on = state.compare.includes(row.key);
  const box = el("input", {
    type: "checkbox",
    id: `compare-${row.key}`,
    checked: on,
    disabled: !on && state.compare.length >= MOST_COMPARED,
    "aria-label": `compare ${row.model} ${row.quantization} ${row.engine} ${row.accelerator}`,
    change: () => change({ compare: on ? state.compare.filter((k) => k !== row.key) : [...state.compare, row.key] }),
  });
  return el("td", { class: "picker", "data-label": "compare" }, box);
}
