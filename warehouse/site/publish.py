"""Write the whole site: data, tables, trials, pages, assets. The same warehouse gives the same bytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from joulemark import __version__
from joulemark.warehouse.errors import ThresholdMissed
from joulemark.warehouse.query.open import Connection
from joulemark.warehouse.schema.reasons import BOUNDARIES, FAILURE_CLASSES, FIDELITIES, GRADES, REASONS
from joulemark.warehouse.site import history
from joulemark.warehouse.site.assets import DATABASE, NEEDED
from joulemark.warehouse.site.attempts import Tried, attempts
from joulemark.warehouse.site.cells import cell_documents, failure_rows
from joulemark.warehouse.site.contents import Contents
from joulemark.warehouse.site.drawn import drawn_tables
from joulemark.warehouse.site.method import method_html
from joulemark.warehouse.site.options import FORMATS, Options
from joulemark.warehouse.site.pages import SQL_POLICY, links, page
from joulemark.warehouse.site.rows import by_column, leaderboard_rows
from joulemark.warehouse.site.sql import catalogue
from joulemark.warehouse.site.tables import SUFFIXES, arrow_stream, as_file
from joulemark.warehouse.site.target import Target
from joulemark.warehouse.site.trial_pages import file_name, write_trials

Row = dict[str, Any]


@dataclass(frozen=True)
class Published:
    """What was written."""

    folder: Path
    rows: int
    trials: int
    left_out: int
    """Trials that failed or are invalid: listed, never ranked."""
    files: int


def publish(connection: Connection, folder: Path, assets: Path, options: Options) -> Published:
    """Write the site into ``folder``. ``connection`` must not be locked down, and runs best on one thread.

    Raises ThresholdMissed where no trial is valid, BadInput where the folder holds something else.
    """
    target = Target.at(folder)
    before = history.read(options.previous or folder, needed=options.previous is not None)
    contents = Contents.of(connection, options)
    tried = attempts(contents)
    rows = _gate(contents, tried)
    failures = failure_rows(contents)
    drawn = drawn_tables(contents)
    about = _about(contents, rows, failures, options) | {"plots": list(drawn), "attempts": list(tried)}
    record = history.record(rows, len(failures), about["as_of"], __version__, before)
    target.write(history.RECORD, _lines(record))
    about["digest"] = record["digest"]
    words = _words(contents)
    first, more = by_column(rows)
    target.script("data/core.js", "core", {"about": about, "rows": first, "words": words, "prices": _prices(contents)})
    target.script("data/more.js", "more", more)
    target.script("data/failures.js", "failures", failures)
    for cell, document in cell_documents(contents):
        target.script(f"data/cells/{file_name(cell)}.js", f"cell:{cell}", document)
    target.script("data/plots.js", "plots", drawn)
    tables = _write_tables(contents, target, sql=options.sql)
    traces = write_trials(contents, target, traces=options.traces, sql=options.sql)
    if options.sql:
        target.script("data/sql.js", "sql", catalogue(contents, tables, traces))
    _write_pages(contents, target, rows, record, options)
    for name in (*NEEDED, *(DATABASE if options.sql else ())):
        target.write(f"assets/{name}", (assets / name).read_bytes())
    target.finish()
    return Published(folder, len(rows), about["trials"], len(failures), len(target.hashes))


def export(connection: Connection, folder: Path, formats: tuple[str, ...], options: Options) -> Published:
    """Write only the leaderboard and the failures as tables, without a site. Raises as `publish` does."""
    target = Target.at(folder)
    contents = Contents.of(connection, options)
    rows = _gate(contents, {})
    for name in ("leaderboard", "failures"):
        table = contents.table(name)
        for kind in formats:
            target.write(f"{name}.{SUFFIXES[kind]}", as_file(table, kind))
    target.finish()
    return Published(folder, len(rows), len(contents.trials()), contents.table("failures").num_rows, len(target.hashes))


def _gate(contents: Contents, tried: Tried) -> list[Row]:
    """Return the rows that may be ranked: those with valid trials."""
    rows = leaderboard_rows(contents, tried)
    if not rows:
        place = contents.connection.warehouse.url
        hint = "" if contents.simulated else "; trials of the simulator are published only with --simulated"
        raise ThresholdMissed(f"{place} has no valid trial: there is nothing to publish{hint}")
    return rows


def _about(contents: Contents, rows: list[Row], failures: list[Row], options: Options) -> Row:
    trials = contents.rows("trials")
    outcomes = Counter(f["outcome"] for f in failures)
    return {
        "title": options.title,
        "version": __version__,
        # Not the present: the same warehouse gives the same page.
        "as_of": str(max(t["ended_at"] for t in trials).isoformat(timespec="seconds")),
        "trials": len(trials),
        "valid": len(trials) - len(failures),
        "invalid": outcomes["invalid"],
        "failed": outcomes["failed"],
        "simulated": any(r["simulated"] for r in rows),
        "redacted": options.redact,
        "sql": options.sql,
        "traces": options.traces,
    }


def _words(contents: Contents) -> dict[str, dict[str, str]]:
    odd = {
        n: file_name(n) for n in [*contents.trials(), *contents.raw("trials")["cell"].to_pylist()] if file_name(n) != n
    }
    return {
        "boundaries": BOUNDARIES,
        "fidelities": FIDELITIES,
        "grades": GRADES,
        "reasons": REASONS,
        "failures": {name: meaning for name, (meaning, _) in FAILURE_CLASSES.items()},
        "files": odd,
    }


def _prices(contents: Contents) -> Row:
    """Return the stored prices that all sweeps agree in; what they differ in is left to the visitor."""
    sites = contents.rows("sites")
    names = ("electricity_per_kwh", "pue", "gpu_hour", "includes_power", "currency", "as_of")
    agreed = {n: {s[n] for s in sites if s[n] is not None} for n in names}
    return {n: next(iter(values)) if len(values) == 1 else None for n, values in agreed.items()}


def _write_tables(contents: Contents, target: Target, *, sql: bool) -> list[Row]:
    listed = []
    for name in contents.names():
        table = contents.table(name)
        kinds = FORMATS if name in ("leaderboard", "failures") else ("csv", "parquet")
        for kind in kinds:
            target.write(f"tables/{name}.{SUFFIXES[kind]}", as_file(table, kind))
        if sql:
            stream = arrow_stream(table)
            file = f"tables/{name}.arrow"
            target.write(file, stream)
            listed.append({"name": name, "file": file, "rows": table.num_rows, "bytes": len(stream)})
    return listed


def _write_pages(contents: Contents, target: Target, rows: list[Row], record: Row, options: Options) -> None:
    common = {
        "title": options.title,
        "links": links(sql=options.sql),
        "footer": f'Made by joulemark {escape(__version__)}. <a href="SHA256SUMS">Hashes of all files</a>, '
        '<a href="assets/LICENCES.txt">licences</a>.',
    }
    downloads = ", ".join(f'<a href="tables/leaderboard.{SUFFIXES[k]}" download>{k}</a>' for k in FORMATS)
    summary = (
        f"{len(rows)} configurations of LLM serving: energy and cost of a token with intervals and rank ranges, under "
        "your own prices, and the raw traces behind each number."
    )
    target.write("index.html", page("index", downloads=downloads, summary=summary, **common))
    if options.sql:
        target.write("sql.html", page("sql", policy=SQL_POLICY, **common))
    for name, heading, content in (
        ("method", "Method and limitations", method_html(contents, rows)),
        ("history", "History of this leaderboard", history.history_html(record)),
    ):
        target.write(f"{name}.html", page("page", heading=heading, content=content, **common))


def _lines(record: Row) -> bytes:
    import json

    return (json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
