// What stands behind a row: its cell's trials, and each trial with its manifest, traces and hashes.

import { load, script, type Core, type Row } from "./data";
import { el, need, word, type Child } from "./dom";
import { bytes, count, short } from "./format";
import type { Model } from "./model";
import type { State } from "./state";
import type { Series } from "./plots";

type Json = Record<string, unknown>;

interface Result extends Json {
  boundary: string;
  fidelity: string;
  valid: boolean;
  reasons: string[];
}

interface Trial {
  trial: string;
  outcome: string;
  failure_class: string | null;
  error: string | null;
  start: number;
  repeat: number;
  attempt: number;
  nodes: string[];
  started_at: string;
  results: Result[];
}

interface Cell {
  cell: string;
  factors: Json;
  trials: Trial[];
}

interface TrialDocument {
  manifest: Json & { cell: string; outcome: string; engine: Json | null; client: Json | null; versions: Json; traces: Json[]; reasons: string[]; error: string | null };
  record: { file: string; sha256: string; bytes: number };
  files: { dataset: string; file: string; rows: number; sha256: string; bytes: number }[];
  components: (Json & { reasons: string[] })[];
  series: Series;
}

export function reasons(list: string[], words: Core["words"]): Child[] {
  return list.map((reason) => word(reason, words["reasons"]?.[reason] ?? words["failures"]?.[reason], "reason"));
}

export function trialLink(trial: string): HTMLElement {
  return el("a", { href: `#view=trial&trial=${encodeURIComponent(trial)}` }, trial);
}

/** Names of files are those of cells and trials where they are harmless ones; the publication says which are not. */
export function fileOf(kind: string, name: string, core: Core): string {
  const file = core.words["files"]?.[name] ?? name;
  // The name comes from the address: a link must not make the page run a script from elsewhere on its host.
  if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}$/.test(file)) throw new Error(`${name} is no name of a cell or trial`);
  return `data/${kind}/${file}.js`;
}

export async function drawCell(model: Model, state: State): Promise<void> {
  const place = need("cell");
  place.replaceChildren(el("p", { role: "status" }, "loading …"));
  place.dataset["wanted"] = state.cell;
  const cell = await load<Cell>(`cell:${state.cell}`, fileOf("cells", state.cell, model.core));
  if (place.dataset["wanted"] !== state.cell) return; // the visitor has gone on
  const rows = model.rows.filter((row) => row.cell === cell.cell);
  const { words } = model.core;
  const name = rows[0] ? nameOf(rows[0]) : cell.cell;
  place.replaceChildren(
    el("h2", {}, name),
    el("p", { class: "meaning" }, `${rows[0] ? `${rows[0].load}, ${rows[0].task}. ` : ""}Cell ${cell.cell}: the hash of its factors. ${count(cell.trials.length, "trial")}.`),
    scroll(
      "Trials of this cell",
      ["trial", "start", "repeat", "attempt", "outcome", "boundary", "fidelity", "J/token", "± J of the window", "J", "tokens", "s", "W", "what speaks against it"],
      cell.trials.flatMap((trial) => trialRows(trial, words)),
    ),
    el("h3", {}, "Factors"),
    tree(cell.factors),
  );
}

function nameOf(row: Row): string {
  return `${row.model} ${row.quantization} on ${row.engine} ${row.engine_version}, ${row.devices > 1 ? `${row.devices} × ` : ""}${row.accelerator}`;
}

function trialRows(trial: Trial, words: Core["words"]): Child[][] {
  const start: Child[] = [trialLink(trial.trial), trial.start, trial.repeat, trial.attempt];
  if (!trial.results.length) {
    const why = trial.failure_class ? [word(trial.failure_class, words["failures"]?.[trial.failure_class], "reason"), " ", trial.error ?? ""] : [trial.error ?? ""];
    return [[...start, trial.outcome, ...Array<Child>(8).fill("–"), el("span", {}, ...why)]];
  }
  return trial.results.map((r) => {
    const n = (key: string) => short(r[key] as number | null);
    const outcome = trial.outcome !== "done" ? trial.outcome : r.valid ? "valid" : "invalid";
    return [...start, outcome, r.boundary, r.fidelity, n("j_per_output_token"), n("uncertainty_j"), n("energy_j"), n("output_tokens"), n("window_s"), n("mean_w"), el("span", {}, ...reasons(r.reasons, words))];
  });
}

export async function drawTrial(model: Model, state: State): Promise<void> {
  const place = need("trial");
  place.replaceChildren(el("p", { role: "status" }, "loading …"));
  place.dataset["wanted"] = state.trial;
  const found = await load<TrialDocument>(`trial:${state.trial}`, fileOf("trials", state.trial, model.core));
  if (place.dataset["wanted"] !== state.trial) return; // the visitor has gone on
  const { manifest } = found;
  const { words } = model.core;
  const chart = el("div", { class: "chart", id: "traces" });
  const row = model.rows.find((one) => one.cell === manifest.cell);
  place.replaceChildren(
    el("h2", {}, `Trial ${state.trial}`),
    row ? el("p", {}, el("b", {}, `${nameOf(row)}, ${row.load}, ${row.task}`)) : "",
    el("p", {}, `${manifest.outcome === "done" ? "Ran to its end" : "Failed"}; of `, el("a", { href: `#view=cell&cell=${encodeURIComponent(manifest.cell)}` }, `cell ${manifest.cell}`), "."),
    manifest.error ? el("p", { class: "error" }, manifest.error) : "",
    el("p", {}, ...(manifest.reasons.length ? ["What the agents hold against it: ", ...reasons(manifest.reasons, words)] : [])),
    el("h3", {}, "Power and tokens"),
    chart,
    el("h3", {}, "Records to download"),
    scroll("Records", ["record", "rows", "size", "SHA-256"], [
      [el("a", { href: found.record.file, download: true }, "manifest (JSON)"), "–", bytes(found.record.bytes), el("code", {}, found.record.sha256)],
      ...found.files.map((f): Child[] => [el("a", { href: f.file, download: true }, `${f.dataset} (Parquet)`), f.rows, bytes(f.bytes), el("code", {}, f.sha256)]),
    ]),
    found.files.length ? "" : el("p", {}, "Its raw traces are not in this publication."),
    el("h3", {}, "What its energy is made of"),
    scroll(
      "Components",
      ["boundary", "interval", "node", "device", "scope", "meter", "method", "fidelity", "s", "J", "± J", "integral / counter − 1", "coverage", "against it"],
      found.components.map((c): Child[] => [
        ...["boundary", "interval", "node", "device", "scope", "meter", "method", "fidelity"].map((k) => String(c[k] ?? "–")),
        ...["seconds", "energy_j", "uncertainty_j", "disagreement", "coverage"].map((k) => short(c[k] as number | null)),
        el("span", {}, ...reasons(c.reasons, words)),
      ]),
    ),
    el("h3", {}, "Digests of the traces as sealed"),
    el("p", { class: "meaning" }, "Over content: rows, first and last instant, sums of the columns. Renaming nodes does not change them."),
    tree(manifest.traces),
    el("h3", {}, "The engine as started, and its configuration as read back"),
    tree(manifest.engine),
    el("h3", {}, "Load client"),
    tree(manifest.client),
    el("h3", {}, "Versions"),
    tree(manifest.versions),
    el("h3", {}, "Factors"),
    tree(manifest["factors"]),
  );
  await drawTraces(chart, found);
}

async function drawTraces(chart: HTMLElement, found: TrialDocument): Promise<void> {
  if (!found.series.power.length && !found.series.tokens) {
    chart.append(el("p", {}, "There is nothing to draw: the trial has no window, or its traces are not published."));
    return;
  }
  await plots();
  globalThis.joulemarkPlots!.traces(chart, found.series, marks(found.manifest));
}

/** Load the library of plots, once. */
let library: Promise<void> | undefined;
export function plots(): Promise<void> {
  library ??= script("assets/plots.js");
  return library;
}

function marks(manifest: Json): { name: string; from: number; to: number }[] {
  const parts = manifest["nodes"] as { window: Span | null; loaded_idle: Span | null }[];
  const first = parts.find((part) => part.window !== null);
  if (!first?.window) return [];
  const zero = first.window.start_us;
  const mark = (name: string, span: Span) => ({ name, from: (span.start_us - zero) / 1e6, to: (span.end_us - zero) / 1e6 });
  return [mark("window", first.window), ...(first.loaded_idle ? [mark("loaded idle", first.loaded_idle)] : [])];
}

interface Span {
  start_us: number;
  end_us: number;
}

export function scroll(label: string, heads: string[], rows: Child[][]): HTMLElement {
  return el(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    el(
      "table",
      { class: "plain" },
      el("caption", { class: "unseen" }, label),
      el("thead", {}, el("tr", {}, ...heads.map((title) => el("th", { scope: "col" }, title)))),
      el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell, i) => el("td", { "data-label": heads[i] }, cell))))),
    ),
  );
}

/** Any JSON as nested lists of names and values. */
export function tree(value: unknown): HTMLElement {
  if (value === null || value === undefined) return el("span", { class: "none" }, "not known");
  if (Array.isArray(value)) {
    if (!value.length) return el("span", { class: "none" }, "none");
    if (value.every((v) => typeof v !== "object")) return el("code", {}, value.map(String).join(" "));
    return el("ol", { class: "tree" }, ...value.map((v) => el("li", {}, tree(v))));
  }
  if (typeof value !== "object") return el("code", {}, String(value));
  const entries = Object.entries(value as Json);
  if (!entries.length) return el("span", { class: "none" }, "none");
  return el("dl", { class: "tree" }, ...entries.flatMap(([key, v]) => [el("dt", {}, key), el("dd", {}, tree(v))]));
}
