// Bundle the page's scripts and put them, what they need and all licences into the folder that is named.
// node build.mjs FOLDER

import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2];
if (!out) throw new Error("usage: node build.mjs FOLDER");
mkdirSync(out, { recursive: true });

const entries = ["main", "plots", "sql", "page"];
const result = await build({
  absWorkingDir: here,
  entryPoints: Object.fromEntries(entries.map((name) => [name, `src/${name}.ts`])),
  outdir: out,
  bundle: true,
  // One classic script each: a page that is opened as a file may load no modules.
  format: "iife",
  target: "es2022",
  minify: true,
  charset: "utf8",
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
});

const modules = join(dirname(createRequire(import.meta.url).resolve("uplot/package.json")), "..");
copyFileSync(join(modules, "uplot/dist/uPlot.min.css"), join(out, "uplot.css"));
copyFileSync(join(here, "style.css"), join(out, "style.css"));
const duckdb = join(modules, "@duckdb/duckdb-wasm/dist");
copyFileSync(join(duckdb, "duckdb-eh.wasm"), join(out, "duckdb-eh.wasm"));
// Its worker without the line that names a source map, which is not here.
const worker = readFileSync(join(duckdb, "duckdb-browser-eh.worker.js"), "utf8");
writeFileSync(join(out, "duckdb-browser-eh.worker.js"), worker.replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n"));

// The licence of every package that a bundle holds, and of DuckDB, which is in the worker and the database.
const packages = new Set(["@duckdb/duckdb-wasm", "uplot"]);
for (const input of Object.keys(result.metafile.inputs)) {
  const inside = input.split("node_modules/").at(-1);
  if (inside === input) continue;
  const parts = inside.split("/");
  packages.add(parts[0].startsWith("@") ? `${parts[0]}/${parts[1]}` : parts[0]);
}
const texts = [...packages].sort().map((name) => {
  const folder = join(modules, name);
  const about = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((f) => /^(licen[cs]e|copying)/i.test(f));
  const text = file ? readFileSync(join(folder, file), "utf8").trim() : `(its package holds no licence file; it says ${about.license})`;
  return `${name} ${about.version} (${about.license})\n\n${text}\n`;
});
writeFileSync(join(out, "LICENCES.txt"), texts.join(`\n${"-".repeat(80)}\n\n`));
for (const name of [...entries.map((e) => `${e}.js`), "style.css"]) if (!existsSync(join(out, name))) throw new Error(`${name} was not made`);
