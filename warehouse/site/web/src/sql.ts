// SQL over the published tables, in the browser: DuckDB in a worker, loaded when this page is opened, tables as Arrow.

import * as duckdb from "@duckdb/duckdb-wasm";
import { now, receive } from "./data";
import { el, fill, need, save } from "./dom";
import { bytes, count } from "./format";
import { here, theme } from "./theme";

interface Catalogue {
  tables: { name: string; file: string; rows: number; bytes: number }[];
  traces: { trial: string; dataset: string; file: string; bytes: number }[];
  empty: Record<string, string>;
  setup: { name: string; sql: string }[];
  examples: { question: string; sql: string }[];
}

globalThis.joulemark = { receive };

const SHOWN = 500;
let connection: duckdb.AsyncDuckDBConnection;
const loaded = new Set<string>();

async function start(): Promise<void> {
  theme(() => undefined);
  here();
  const status = need("status");
  const catalogue = now<Catalogue>("sql");
  examples(catalogue);
  if (location.protocol === "file:") {
    status.textContent = "SQL needs a web server: a page that is opened as a file may load no database. For example: python3 -m http.server";
    return;
  }
  status.textContent = "loading the database …";
  connection = await open();
  for (const table of catalogue.tables) await insert(table.name, table.file);
  for (const [name, definition] of Object.entries(catalogue.empty)) await connection.query(`CREATE TABLE "${name}" (${definition})`);
  await views(catalogue);
  traces(catalogue);
  listTables(catalogue);
  need("run").removeAttribute("disabled");
  need("run").addEventListener("click", () => void run());
  need("query").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void run();
  });
  need("csv").addEventListener("click", () => last && save("result.csv", "text/csv", csv(last)));
  status.textContent = `ready: ${count(catalogue.tables.length, "table")}; Ctrl+Enter runs the query`;
  const asked = new URLSearchParams(location.hash.slice(1)).get("q");
  if (asked) {
    (need("query") as HTMLTextAreaElement).value = asked;
    await run();
  }
  document.documentElement.dataset["ready"] = "1";
}

async function open(): Promise<duckdb.AsyncDuckDBConnection> {
  const at = (name: string) => new URL(`assets/${name}`, document.baseURI).href;
  // A worker from a blob is bound by this page's policy, one from a file by none: it could ask any host.
  const code = new Blob([`importScripts(${JSON.stringify(at("duckdb-browser-eh.worker.js"))});`], { type: "text/javascript" });
  const worker = new Worker(URL.createObjectURL(code));
  const database = new duckdb.AsyncDuckDB(new duckdb.VoidLogger(), worker);
  await database.instantiate(at("duckdb-eh.wasm"));
  await database.open({ path: ":memory:", query: { castBigIntToDouble: false } });
  const made = await database.connect();
  // Extensions come from another host: none is asked for.
  await made.query("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false; SET enable_external_access = false;");
  return made;
}

async function insert(name: string, file: string): Promise<void> {
  const answer = await fetch(new URL(file, document.baseURI));
  if (!answer.ok) throw new Error(`${file} could not be loaded: ${answer.status}`);
  await connection.insertArrowFromIPCStream(new Uint8Array(await answer.arrayBuffer()), { name, create: !loaded.has(name) });
  loaded.add(name);
}

/** Macros and views by the very text that `joulemark sql` has; one that this DuckDB cannot make is left out, and named. */
async function views(catalogue: Catalogue): Promise<void> {
  const missing: string[] = [];
  for (const { name, sql } of catalogue.setup) {
    try {
      await connection.query(sql);
    } catch {
      missing.push(name);
    }
  }
  if (missing.length) need("missing").textContent = `Not here, only in joulemark sql: ${missing.join(", ")}.`;
}

function traces(catalogue: Catalogue): void {
  const total = catalogue.traces.reduce((sum, t) => sum + t.bytes, 0);
  const button = need("load-traces") as HTMLButtonElement;
  if (!total) return;
  button.hidden = false;
  button.textContent = `Load the raw traces too (${bytes(total)})`;
  button.addEventListener("click", () => void all().catch((error: Error) => (need("status").textContent = error.message)));
  const all = async () => {
    button.disabled = true;
    for (const name of new Set(catalogue.traces.map((t) => t.dataset))) await connection.query(`DROP TABLE IF EXISTS "${name}" CASCADE`);
    for (const [i, trace] of catalogue.traces.entries()) {
      need("status").textContent = `loading raw traces: ${i + 1} of ${catalogue.traces.length}`;
      await insert(trace.dataset, trace.file);
    }
    await views(catalogue);
    button.hidden = true;
    need("status").textContent = "ready, with the raw traces";
  };
}

interface Answer {
  names: string[];
  rows: unknown[][];
}
let last: Answer | undefined;

async function run(): Promise<void> {
  const text = (need("query") as HTMLTextAreaElement).value;
  const status = need("status");
  history.replaceState(null, "", `#${new URLSearchParams({ q: text })}`);
  status.textContent = "running …";
  need("result").replaceChildren();
  try {
    const began = performance.now();
    const table = await connection.query(text);
    last = { names: table.schema.fields.map((f) => f.name), rows: table.toArray().map((row) => [...row].map(([, value]: [string, unknown]) => plain(value))) };
    // Instants come as milliseconds.
    table.schema.fields.forEach((field, i) => {
      if (String(field.type).startsWith("Timestamp")) for (const row of last!.rows) row[i] = row[i] === null ? null : instant(row[i]);
    });
    status.textContent = `${count(last.rows.length, "row")} in ${Math.round(performance.now() - began)} ms`;
    need("csv").removeAttribute("disabled");
    show(last);
  } catch (error) {
    status.textContent = "";
    need("result").replaceChildren(el("p", { class: "error", role: "alert" }, (error as Error).message));
  }
}

function plain(value: unknown): unknown {
  if (value === null || value === undefined) return null;
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
  if (typeof value !== "object") return value;
  if (value instanceof Date) return value.toISOString();
  if (Symbol.iterator in value && !("toJSON" in value && !("length" in value))) return [...(value as Iterable<unknown>)].map(plain);
  const record = "toJSON" in value ? (value as { toJSON(): Record<string, unknown> }).toJSON() : (value as Record<string, unknown>);
  return Object.fromEntries(Object.entries(record).map(([k, v]) => [k, plain(v)]));
}

function instant(value: unknown): string {
  return new Date(Number(value)).toISOString();
}

function cell(value: unknown): string {
  if (value === null) return "NULL";
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

function show(answer: Answer): void {
  const body = answer.rows.slice(0, SHOWN).map((row) =>
    el("tr", {}, ...row.map((value) => el("td", { class: typeof value === "number" ? "number" : value === null ? "none" : null, "data-value": cell(value), title: typeof value === "object" || String(value).length > 40 ? cell(value) : null }, typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(7))) : cell(value)))),
  );
  const head = el("thead", {}, el("tr", {}, ...answer.names.map((name) => el("th", { scope: "col" }, name))));
  const table = el("table", { class: "plain" }, el("caption", { class: "unseen" }, "Result"), head, el("tbody", {}, ...body));
  const rest = answer.rows.length - SHOWN;
  const place = need("result");
  place.replaceChildren(el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Result" }, table));
  fill(place, [rest > 0 ? el("p", {}, `${rest} more rows are in the CSV.`) : null]);
}

function csv(answer: Answer): string {
  const field = (value: unknown) => (value === null ? "" : typeof value === "number" ? String(value) : `"${cell(value).replaceAll('"', '""')}"`);
  return [answer.names, ...answer.rows].map((row) => row.map(field).join(",")).join("\n") + "\n";
}

function examples(catalogue: Catalogue): void {
  need("examples").replaceChildren(
    ...catalogue.examples.map((e) =>
      el(
        "li",
        {},
        el("button", { click: () => ((need("query") as HTMLTextAreaElement).value = e.sql) }, e.question),
      ),
    ),
  );
}

function listTables(catalogue: Catalogue): void {
  need("tables").replaceChildren(...catalogue.tables.map((t) => el("li", {}, el("a", { href: `method.html#${t.name}` }, el("code", {}, t.name)), ` ${count(t.rows, "row")}`)));
}

document.addEventListener("DOMContentLoaded", () => {
  start().catch((error: Error) => need("status").replaceChildren(el("span", { class: "error", role: "alert" }, error.message)));
});

