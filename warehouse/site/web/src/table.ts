// The tables of the leaderboard: one for each group of comparable rows.

import type { Column, Line } from "./columns";
import { el, need } from "./dom";
import { count } from "./format";
import { measure } from "./measures";
import type { Group, Model, Shown } from "./model";
import { MOST_COMPARED, type State } from "./state";

/** Rows of a group that are shown at once; the button below shows all. */
export const PAGE = 30;

export type Change = (changes: Partial<State>) => void;

/** Rows that are drawn before the browser shows anything; tables further down follow, one at a time. */
const AT_ONCE = 30;
const NEAR_PX = 300;

let turn = 0;
const sections = new Map<number, Section>();

interface Section {
  element: HTMLElement;
  title: HTMLElement;
  meaning: HTMLElement;
  scroller: HTMLElement;
  table: HTMLTableElement;
  more: HTMLElement;
}

/** Draw what is in sight now and the rest after it, or `whole`, all of it now. */
export function drawTables(model: Model, shown: Shown, state: State, change: Change, whole = false): void {
  const mine = ++turn;
  const place = need("groups");
  const root = document.documentElement;
  delete root.dataset["settled"];
  need("count").textContent = summary(shown, state);
  const wanted = shown.groups.map((group) => section(group));
  arrange(place, wanted.length ? wanted.map((s) => s.element) : [el("p", { class: "empty" }, "No row keeps these limits and filters.")]);
  const draw = (i: number) => {
    const focus = focused();
    update(wanted[i]!, model, shown.groups[i]!, shown, state, change);
    if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
  };
  const later: number[] = [];
  let rows = 0;
  const sight = whole ? [] : shown.groups.map((_, i) => inSight(wanted[i]!.element));
  shown.groups.forEach((group, i) => {
    if (!whole && (rows >= AT_ONCE || !sight[i])) return void later.push(i);
    rows += state.all ? group.lines.length : Math.min(PAGE, group.lines.length);
    draw(i);
  });
  const next = () => {
    if (mine !== turn) return;
    const i = later.shift();
    if (i === undefined) return void (root.dataset["settled"] = "1");
    draw(i);
    setTimeout(next);
  };
  if (later.length) setTimeout(next);
  else next();
}

function inSight(element: HTMLElement): boolean {
  const { top, bottom } = element.getBoundingClientRect();
  return top < innerHeight + NEAR_PX && bottom > -NEAR_PX;
}

function arrange(place: HTMLElement, wanted: HTMLElement[]): void {
  const same = place.children.length === wanted.length && wanted.every((element, i) => place.children[i] === element);
  if (!same) place.replaceChildren(...wanted);
}

function focused(): string {
  const active = document.activeElement;
  return active && need("groups").contains(active) ? active.id : "";
}

function summary(shown: Shown, state: State): string {
  const over = shown.overLimits ? `; ${count(shown.overLimits, "row")} over your latency limits or without that figure` : "";
  const how = shown.published
    ? "Ranks are the published ones (Holm's test)."
    : `Ranks under your assumptions, by ${measure(state.metric).title}: intervals that do not overlap, not corrected for the number of comparisons.`;
  const some = shown.count === shown.of ? "" : ` of ${shown.of}`;
  return `${count(shown.count, "row")}${some}${over}. ${how}`;
}

function section(group: Group): Section {
  const known = sections.get(group.id);
  if (known) return known;
  const title = el("h2");
  const meaning = el("p", { class: "meaning" });
  const table = el("table");
  const scroller = el("div", { class: "scroll", tabindex: 0, role: "region" }, table);
  const more = el("p");
  const made = { title, meaning, table, scroller, more, element: el("section", { class: "group" }, title, meaning, scroller, more) };
  sections.set(group.id, made);
  return made;
}

function update(part: Section, model: Model, group: Group, shown: Shown, state: State, change: Change): void {
  const { words } = model.core;
  const title = `${group.boundary}, ${group.fidelity}: ${group.task}`;
  const lines = state.all ? group.lines : group.lines.slice(0, PAGE);
  part.element.setAttribute("aria-label", title);
  part.title.textContent = title;
  part.meaning.textContent = `${words["boundaries"]?.[group.boundary] ?? ""}; ${words["fidelities"]?.[group.fidelity] ?? ""}.`;
  part.scroller.setAttribute("aria-label", `Table: ${title}`);
  part.table.replaceChildren(el("caption", { class: "unseen" }, title), head(group, shown.columns, state, change), body(lines, shown.columns, state, change));
  const rest = group.lines.length > lines.length;
  part.more.replaceChildren(rest ? el("button", { class: "more", click: () => change({ all: true }) }, `Show all ${group.lines.length} rows`) : "");
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
  return el("thead", {}, el("tr", {}, el("th", { scope: "col" }, el("span", { class: "unseen" }, "compare")), ...cells));
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
    return el("tr", { "data-key": line.row.key, class: line.row.simulated ? "simulated" : null }, picker(line, state, change), ...cells);
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
