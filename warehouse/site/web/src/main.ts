// The leaderboard's page.

import { drawCompare } from "./compare";
import { makeControls, showControls, told } from "./controls";
import { extend, load, now, receive, rowsOf, type Core } from "./data";
import { drawCell, drawTrial } from "./detail";
import { el, need } from "./dom";
import { exportView } from "./exports";
import { count } from "./format";
import { drawInvalid } from "./invalid";
import { Model, type Shown } from "./model";
import { drawPlots } from "./plotting";
import { defaults, read, write, type State, type View } from "./state";
import { drawTables } from "./table";
import { theme } from "./theme";

declare global {
  var joulemark: { receive: typeof receive };
}

globalThis.joulemark = { receive };

function start(): void {
  const core = now<Core>("core");
  const model = new Model(core, rowsOf(core.rows));
  const base = defaults(core.prices);
  let state = read(location.hash, base, core.about.attempts);
  let shown: Shown | undefined;
  let drawn = "";

  const change = (changes: Partial<State>) => {
    state = { ...state, ...changes };
    const hash = write(state, base);
    // Replaced, not pushed: the way back leads to another view, not to another position of a slider.
    if ("view" in changes) location.hash = hash || "view=table";
    else history.replaceState(null, "", `#${hash}`);
    draw();
  };

  const draw = () => {
    show(state.view);
    showControls(state);
    need("given").textContent = told(state, base, model.currency);
    (need("best") as HTMLInputElement).checked = state.best;
    const search = need("search") as HTMLInputElement;
    if (search !== document.activeElement) search.value = state.search;
    need("compare-count").textContent = state.compare.length ? ` (${state.compare.length})` : "";
    shown = model.show(state);
    if (state.view === "table") drawTables(model, shown, state, change);
    else void other(state).catch((error: Error) => need(state.view).replaceChildren(el("p", { class: "error", role: "alert" }, error.message)));
  };

  const other = async (at: State) => {
    if (at.view === "compare") return drawCompare(model, at, change);
    if (at.view === "plots") return drawPlots(model, shown!, at, change);
    const wanted = `${at.view} ${at.cell} ${at.trial}`;
    if (wanted === drawn) return;
    drawn = wanted;
    if (at.view === "invalid") return drawInvalid(model);
    if (at.view === "cell") return drawCell(model, at);
    return drawTrial(model, at);
  };

  theme(() => {
    drawn = "";
    draw();
  });
  header(core);
  makeControls(model, () => state, change);
  need("best").addEventListener("change", (event) => change({ best: (event.target as HTMLInputElement).checked }));
  need("search").addEventListener("input", (event) => change({ search: (event.target as HTMLInputElement).value }));
  need("reset").addEventListener("click", () => change({ ...base, view: state.view }));
  for (const link of document.querySelectorAll<HTMLElement>("[data-view]"))
    link.addEventListener("click", (event) => {
      event.preventDefault();
      change({ view: link.dataset["view"] as View, cell: "", trial: "" });
    });
  for (const button of document.querySelectorAll<HTMLElement>("[data-export]"))
    button.addEventListener("click", () => shown && exportView(button.dataset["export"] as "csv", model, shown));
  need("copy").addEventListener("click", () => {
    const said = (text: string) => (need("copied").textContent = text);
    // On a page that came without encryption, a browser has no clipboard.
    const done = (navigator.clipboard as Clipboard | undefined)?.writeText(location.href) ?? Promise.reject(new Error("no clipboard"));
    done.then(() => said("copied"), () => said("copy it from the address bar"));
  });
  addEventListener("hashchange", () => {
    state = read(location.hash, base, core.about.attempts);
    draw();
  });
  // A print is on white paper, and has all rows, not the first of them.
  const root = document.documentElement;
  let before: string | undefined;
  addEventListener("beforeprint", () => {
    before = root.dataset["theme"];
    root.dataset["theme"] = "light";
    drawn = "";
    draw();
    drawTables(model, model.show(state), { ...state, all: true }, change, true);
  });
  addEventListener("afterprint", () => {
    if (before === undefined) delete root.dataset["theme"];
    else root.dataset["theme"] = before;
    drawn = "";
    draw();
  });
  // At first sight nothing but the table as published is wanted; what an address may ask for can need all columns.
  if (location.hash.length < 2) draw();
  load<Core["rows"]>("more", "data/more.js")
    .then((more) => {
      extend(model.rows, more);
      draw();
      document.documentElement.dataset["ready"] = "1";
    })
    .catch((error: Error) => need("facts").append(el("span", { class: "error", role: "alert" }, ` ${error.message}`)));
}

function show(view: View): void {
  for (const part of document.querySelectorAll<HTMLElement>("[data-part]")) part.hidden = part.dataset["part"] !== view;
  need("controls").hidden = !["table", "plots", "compare"].includes(view);
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.getAttribute("data-view") === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function header(core: Core): void {
  const { about } = core;
  const parts = [`${count(about.valid, "valid trial")}`, about.invalid ? `${about.invalid} invalid` : "", about.failed ? `${about.failed} failed` : ""];
  need("facts").textContent = `${parts.filter(Boolean).join(", ")}; latest of ${about.as_of.slice(0, 10)}; made by joulemark ${about.version}`;
  need("alarm").hidden = !about.simulated;
}

document.addEventListener("DOMContentLoaded", start);
