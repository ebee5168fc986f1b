// The visitor's assumptions, limits and filters.

import { columns, needed, type Column } from "./columns";
import { el, need } from "./dom";
import { MEASURES, measure, type Metric } from "./measures";
import type { Model } from "./model";
import { LATENCIES } from "./ranking";
import { FILTERS, LEAST, MOST, within, type Filter, type State } from "./state";
import type { Change } from "./table";

interface Field {
  name: keyof State & string;
  label: string;
  help: string;
  step: number;
  /** upper end of the slider; without one there is only a box */
  slider?: [number, number];
  empty?: boolean;
}

const TITLES: Record<string, string> = {
  quantization: "precision",
  engine_version: "engine version",
  size: "size",
  ttft_p50_ms: "TTFT p50",
  ttft_p99_ms: "TTFT p99",
  tpot_p50_ms: "TPOT p50",
  itl_p50_ms: "ITL p50",
  itl_p99_ms: "ITL p99",
  e2e_p50_ms: "end to end p50",
};

function fields(currency: string): Field[] {
  return [
    { name: "price", label: `electricity, ${currency} per kWh`, help: "price of a kilowatt-hour", step: 0.01, slider: [0, 1], empty: true },
    { name: "pue", label: "PUE", help: "power of the facility over that of its computers; not applied to the boundary facility", step: 0.01, slider: [1, 2.5] },
    { name: "utilisation", label: "utilisation", help: "share of the time that the engine is busy; for the rest it is loaded and idle", step: 0.01, slider: [0.01, 1] },
    { name: "gpuHour", label: `GPU-hour, ${currency}`, help: "price of one accelerator for an hour, unless one is given for it below", step: 0.05, slider: [0, 10], empty: true },
    { name: "budget", label: "power budget, W", help: "power that the whole site may take", step: 100, empty: true },
    { name: "attempts", label: "attempts per response", help: "how often a response is tried until it is of use", step: 0.1, slider: [1, 5] },
    { name: "response", label: "tokens per response", help: "output tokens of one response", step: 1 },
    { name: "other", label: "tokens around it", help: "tokens of guards and checks for each response", step: 1 },
    { name: "otherPrice", label: `${currency} per such token`, help: "what one of them costs", step: 0.000001 },
    { name: "otherJ", label: "J per such token", help: "what one of them takes", step: 0.001 },
  ];
}

export function makeControls(model: Model, state: () => State, change: Change): void {
  const made = fields(model.currency).map((field) => control(field, state, change));
  const priced = [...new Set(model.rows.filter((row) => row.devices > 0).map((row) => row.accelerator))].sort();
  const gpus = priced.map((name) => gpuPrice(name, model.currency, state, change));
  const included = check("includesPower", "the GPU-hour includes electricity", state, change);
  // Where nothing runs on an accelerator, its price is no question.
  if (!priced.length) made[3]!.hidden = true;
  if (matchMedia("(max-width: 46rem)").matches) need("assumptions").closest("details")!.open = false;
  need("assumptions").replaceChildren(
    group("Energy and money", made.slice(0, 4), priced.length ? included : null, ...gpus),
    group("Latency limits, ms", LATENCIES.map((name) => limit(name, state, change))),
    group("Response and site", made.slice(4), attemptsFrom(model, change)),
  );
  need("filters").replaceChildren(...FILTERS.map((name) => filter(name, model, state, change)).filter((f): f is HTMLElement => f !== null));
  need("columns").replaceChildren(...chooser(model, state, change));
  makeOrder(model, state, change);
}

/** What is ranked by, and where there are no heads of columns to click on, what is sorted by. */
function makeOrder(model: Model, state: () => State, change: Change): void {
  const metric = need("metric") as HTMLSelectElement;
  metric.replaceChildren(...(Object.keys(MEASURES) as Metric[]).map((name) => el("option", { value: name }, measure(name).title)));
  metric.addEventListener("change", () => change({ metric: metric.value as Metric }));
  const sort = need("sort") as HTMLSelectElement;
  sort.replaceChildren(el("option", { value: "" }, "order of the ranking"), ...known(model).map((c) => el("option", { value: c.id }, c.title)));
  sort.addEventListener("change", () => change({ sort: sort.value, descending: false }));
  need("direction").addEventListener("click", () => change({ descending: !state().descending }));
}

function attemptsFrom(model: Model, change: Change): HTMLElement | null {
  const sources = model.core.about.attempts;
  if (!sources.length) return null;
  const select = el("select", { id: "a-attemptsFrom", change: () => change({ attemptsFrom: select.value }) });
  select.append(el("option", { value: "" }, "the number above"), ...sources.map((name) => el("option", { value: name }, sourceTitle(name))));
  return el("div", { class: "field", "data-field": "attemptsFrom" }, el("label", { for: select.id }, "attempts from"), select);
}

function sourceTitle(name: string): string {
  return name === "slo" ? "requests within the limits" : `scores in ${name}`;
}

function known(model: Model): Column[] {
  return columns({ words: model.core.words, currency: model.currency, attemptsFrom: "", span: () => null });
}

function group(title: string, made: HTMLElement[], ...more: (HTMLElement | null)[]): HTMLElement {
  return el("fieldset", {}, el("legend", {}, title), ...made, ...more);
}

function control(field: Field, state: () => State, change: Change): HTMLElement {
  const id = `a-${field.name}`;
  const set = (text: string) => {
    const value = field.empty && text.trim() === "" ? null : within(field.name, text);
    if (value !== null || (field.empty && text.trim() === "")) change({ [field.name]: value } as Partial<State>);
  };
  const box = el("input", { id, type: "number", step: "any", min: LEAST[field.name] ?? 0, max: MOST[field.name], title: field.help, inputmode: "decimal" });
  box.addEventListener("input", () => set(box.value));
  const parts: HTMLElement[] = [el("label", { for: id, title: field.help }, field.label), box];
  if (field.slider) {
    const slide = el("input", { type: "range", id: `${id}-slider`, min: field.slider[0], max: field.slider[1], step: field.step, "aria-label": `${field.label} (slider)` });
    slide.addEventListener("input", () => set(slide.value));
    parts.splice(1, 0, slide);
  }
  return el("div", { class: "field", "data-field": field.name }, ...parts);
}

function gpuPrice(name: string, currency: string, state: () => State, change: Change): HTMLElement {
  const id = `gpu-${name.replace(/[^A-Za-z0-9]+/g, "-")}`;
  const box = el("input", { id, type: "number", step: "any", min: 0, "data-gpu": name, inputmode: "decimal" });
  box.addEventListener("input", () => {
    const prices = { ...state().gpuHours };
    const value = within("", box.value);
    if (value === null) delete prices[name];
    else prices[name] = value;
    change({ gpuHours: prices });
  });
  return el("div", { class: "field" }, el("label", { for: id }, `${name}, ${currency} per hour`), box);
}

function limit(name: string, state: () => State, change: Change): HTMLElement {
  const id = `max-${name}`;
  const box = el("input", { id, type: "number", step: "any", min: 0, placeholder: "none", "data-limit": name, inputmode: "decimal" });
  box.addEventListener("input", () => {
    const limits = { ...state().limits };
    const value = within("", box.value);
    if (value === null) delete limits[name];
    else limits[name] = value;
    change({ limits });
  });
  return el("div", { class: "field" }, el("label", { for: id }, `${TITLES[name] ?? name} at most`), box);
}

function check(name: "includesPower" | "best", label: string, state: () => State, change: Change): HTMLElement {
  const box = el("input", { type: "checkbox", id: `a-${name}`, change: () => change({ [name]: box.checked }) });
  return el("div", { class: "field check" }, box, el("label", { for: `a-${name}` }, label));
}

function filter(name: Filter, model: Model, state: () => State, change: Change): HTMLElement | null {
  const values = model.options.get(name) ?? [];
  if (values.length < 2) return null;
  const boxes = values.map((value, i) => {
    const id = `f-${name}-${i}`;
    const box = el("input", { type: "checkbox", id, "data-filter": name, "data-value": value });
    box.addEventListener("change", () => {
      const before = state().filters[name] ?? [];
      const after = box.checked ? [...before, value] : before.filter((v) => v !== value);
      const filters = { ...state().filters };
      if (after.length) filters[name] = after;
      else delete filters[name];
      change({ filters });
    });
    return el("li", {}, box, el("label", { for: id }, value));
  });
  const title = TITLES[name] ?? name;
  return el("details", { class: "filter", "data-name": name }, el("summary", {}, title, el("span", { class: "chosen" })), el("ul", {}, ...boxes));
}

function chooser(model: Model, state: () => State, change: Change): HTMLElement[] {
  return known(model)
    .filter((column) => column.id !== "model")
    .map((column) => {
      const id = `c-${column.id}`;
      const box = el("input", { type: "checkbox", id, "data-column": column.id, "data-first": column.first ? "1" : "" });
      box.addEventListener("change", () => {
        const before = state().columns;
        // Kept is what differs from the columns that are there at first.
        change({ columns: before.includes(column.id) ? before.filter((c) => c !== column.id) : [...before, column.id] });
      });
      return el("li", {}, box, el("label", { for: id, title: column.meaning }, column.title));
    });
}

/** Show the state in all fields, but for the one that is being typed in. */
export function showControls(state: State): void {
  const typing = document.activeElement;
  const put = (element: HTMLInputElement, text: string) => {
    if (element !== typing && element.value !== text) element.value = text;
  };
  for (const field of fields("")) {
    const value = state[field.name];
    const text = value === null ? "" : String(value);
    put(need(`a-${field.name}`) as HTMLInputElement, text);
    const slide = document.getElementById(`a-${field.name}-slider`) as HTMLInputElement | null;
    if (slide) put(slide, text === "" ? slide.min : text);
  }
  for (const box of inputs("[data-gpu]")) put(box, text(state.gpuHours[box.dataset["gpu"]!]));
  for (const box of inputs("[data-limit]")) put(box, text(state.limits[box.dataset["limit"]!]));
  for (const box of inputs("[data-filter]")) box.checked = state.filters[box.dataset["filter"] as Filter]?.includes(box.dataset["value"]!) ?? false;
  const must = needed(state);
  for (const box of inputs("#columns [data-column]")) {
    box.disabled = must.has(box.dataset["column"]!);
    box.checked = box.disabled || (box.dataset["first"] === "1") !== state.columns.includes(box.dataset["column"]!);
  }
  const choose = (id: string, value: string) => {
    const select = document.getElementById(id) as HTMLSelectElement | null;
    if (select) select.value = value;
  };
  choose("metric", state.metric);
  choose("sort", state.sort);
  choose("a-attemptsFrom", state.attemptsFrom);
  const direction = need("direction") as HTMLButtonElement;
  direction.textContent = state.descending ? "↓" : "↑";
  direction.disabled = !state.sort;
  const included = document.getElementById("a-includesPower") as HTMLInputElement | null;
  if (included) included.checked = state.includesPower;
  for (const part of document.querySelectorAll<HTMLElement>(".filter")) {
    const chosen = state.filters[part.dataset["name"] as Filter]?.length ?? 0;
    part.querySelector(".chosen")!.textContent = chosen ? ` (${chosen})` : "";
  }
  const filters = Object.keys(state.filters).length;
  need("filters-count").textContent = filters ? ` (${filters})` : "";
}

/** The assumptions in words, for a print, which has no fields. */
export function told(state: State, base: State, currency: string): string {
  const parts = fields(currency)
    .filter(({ name }) => state[name] !== null && (name === "pue" || name === "price" || name === "utilisation" || state[name] !== base[name]))
    .map(({ name, label }) => `${label} ${state[name]}`);
  for (const [name, price] of Object.entries(state.gpuHours)) parts.push(`${name} ${price} ${currency} per hour`);
  for (const [name, most] of Object.entries(state.limits)) parts.push(`${TITLES[name] ?? name} at most ${most} ms`);
  if (state.attemptsFrom) parts.push(`attempts from ${sourceTitle(state.attemptsFrom)}`);
  if (state.includesPower) parts.push("the GPU-hour includes electricity");
  for (const [name, values] of Object.entries(state.filters)) parts.push(`only ${TITLES[name] ?? name} ${values.join(" or ")}`);
  if (state.search) parts.push(`only what has "${state.search}" in it`);
  if (state.best) parts.push("only the best configuration of each model");
  return `Assumptions: ${parts.join("; ")}.`;
}

function text(value: number | undefined): string {
  return value === undefined ? "" : String(value);
}

function inputs(selector: string): NodeListOf<HTMLInputElement> {
  return document.querySelectorAll<HTMLInputElement>(selector);
}
