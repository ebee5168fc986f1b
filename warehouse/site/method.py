"""The method page: made from the definitions that the documentation of the data is made from."""

from __future__ import annotations

from html import escape
from typing import Any

from joulemark.warehouse.build.statistics import FAMILY_ERROR
from joulemark.warehouse.describe import INTRODUCTION
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.reasons import BOUNDARIES, FAILURE_CLASSES, FIDELITIES, GRADES, REASONS, SCOPES
from joulemark.warehouse.site.contents import Contents
from joulemark.warehouse.site.pages import inline, prose, table
from joulemark.warehouse.views.docs import ViewDoc, all_docs

Row = dict[str, Any]

ASSUMPTIONS = (
    ("utilisation u", "`utilisation_adjusted(u)`: busy for the share u of the time, loaded and idle for the rest"),
    ("kWh, cost", "`cost(gpu_hour, kwh_price, pue, includes_power)`; GPU-hours are divided by u, energy is that at u"),
    ("response", "`cost_per_response(tokens, attempts, per_token, other_tokens, per_other_token)`"),
    (
        "attempts",
        "your number for all rows, or as in `response_energy`: 1 / the share of right answers in a task, and where a "
        "row has no score, 1 / the share of requests within the limits on latency",
    ),
    (
        "power budget",
        "`facility(budget, budget, pue, u)`: whole deployments whose mean power times the PUE fits, and their output "
        "tokens per second",
    ),
    (
        "interval",
        "that of J per token, carried through these formulas; the rate's own spread is not in the interval of a cost",
    ),
    (
        "ranks",
        f"as published (Holm, family-wise error {FAMILY_ERROR:.0%}) by energy at full utilisation without limits; else "
        "1 + the rows whose interval lies wholly below, to the rows less those whose interval lies wholly above",
    ),
    ("latency limits", "a row whose figure is over a limit, or is not known, is not shown and not ranked"),
)

GENERAL = (
    "Rows of another boundary, fidelity or task are other questions: no rank says anything between them.",
    "Intervals say how repeatable a figure was where it was measured. The gain and offset of a sensor are common to "
    "everything measured on a device and in no interval: up to 5 % and 5 W on NVIDIA boards.",
    "Prompts are random tokens unless the task says otherwise. Real text can differ: it stops at its own length, and "
    "mixture-of-experts models route it differently.",
    "What a GPU board's sensor does not see (fans, power supplies, network, other machines) is in no figure of the "
    "boundary `gpu`. A PUE of your own covers the building, not these.",
    "Costs are arithmetic on prices that you give. They leave out staff, network, storage and machines that idle.",
)


_PARTS = {
    "how": "How figures come about",
    "limitations": "Limitations",
    "words": "Words",
    "tables": "Tables and figures",
}


def method_html(contents: Contents, rows: list[Row]) -> str:
    """Return the page's content."""
    about = INTRODUCTION.partition("edit by hand.*\n")[2]
    parts = [
        "<ul>" + "".join(f'<li><a href="#{i}">{title}</a></li>' for i, title in _PARTS.items()) + "</ul>",
        _head("how"),
        prose(about),
        "<h3>Under your assumptions</h3>",
        table("Definitions", ("what", "definition"), ASSUMPTIONS),
        _head("limitations"),
        "<ul>" + "".join(f"<li>{inline(text)}</li>" for text in (*_own(rows, contents), *GENERAL)) + "</ul>",
        _head("words"),
        *_words(),
        _head("tables"),
        prose("Each is in `tables/` as CSV, Parquet and Arrow, and in the page's SQL under this name."),
        *_tables(contents),
    ]
    return "\n".join(parts)


def _head(part: str) -> str:
    return f'<h2 id="{part}">{_PARTS[part]}</h2>'


def _own(rows: list[Row], contents: Contents) -> list[str]:
    """Return what limits this very publication."""
    found = []
    single = sum(r["half"] is None for r in rows)
    if single:
        found.append(
            f"{single} of {len(rows)} rows rest on one trial: they have no interval and are told apart from none."
        )
    modelled = sum(r["fidelity"] == "modelled" for r in rows)
    if modelled:
        found.append(
            f"{modelled} of {len(rows)} rows are `modelled`: watts computed from CPU time and a table, not measured."
        )
    quick = sum(r["grade"] == "quick" for r in rows)
    if quick:
        found.append(f"{quick} of {len(rows)} rows are of grade `quick`: a first look, not for a claim.")
    one_start = sum(r["starts"] == 1 for r in rows)
    if one_start:
        found.append(
            f"{one_start} of {len(rows)} rows rest on one engine start: their intervals know no other start or node."
        )
    apart = contents.table("phase_energy").num_rows
    found.append(
        f"Energy of prompt and answer apart is known for {apart} of {len(rows)} rows: those with companion trials that "
        "measured each alone (`phases: isolate`). It is estimated for none."
    )
    if contents.simulated and any(r["simulated"] for r in rows):
        found.append("Simulated rows are in it because they were asked for. They are not measurements.")
    if contents.redact.on:
        found.append("Names of hosts and users, addresses and paths were taken out of all texts.")
    return found


def _words() -> list[str]:
    groups = {
        "Boundaries: what a figure's energy contains": BOUNDARIES,
        "Scopes: what a meter's number contains": SCOPES,
        "Fidelities: how a number arises": FIDELITIES,
        "Grades": GRADES,
        "Reasons: what speaks against a trial": REASONS,
        "Failure classes": {name: meaning for name, (meaning, _) in FAILURE_CLASSES.items()},
    }
    return [
        part
        for title, words in groups.items()
        for part in (
            f"<h3>{escape(title)}</h3>",
            table(title, ("word", "meaning"), [(f"`{w}`", m) for w, m in words.items()]),
        )
    ]


def _tables(contents: Contents) -> list[str]:
    names = set(contents.names())
    parts = []
    for doc in reversed(all_docs()):
        if doc.call or doc.name in names:
            parts += _view(doc)
    for dataset in DATASETS.values():
        if dataset.name in names:
            rows = [(f"`{c.name}`", c.meaning) for c in dataset.columns]
            parts += [
                f'<h3 id="{dataset.name}">{dataset.name}</h3>',
                prose(f"One row is {dataset.row}."),
                table(f"columns of {dataset.name}", ("column", "meaning"), rows),
            ]
    return parts


def _view(doc: ViewDoc) -> list[str]:
    rows = [(f"`{c.name}`", c.unit, c.meaning) for c in doc.columns]
    call = f"<p>Call it as <code>{escape(doc.call)}</code>.</p>" if doc.call else ""
    return [
        f'<h3 id="{doc.name}">{doc.name}</h3>',
        prose(doc.text),
        call,
        table(f"columns of {doc.name}", ("column", "unit", "meaning"), rows),
    ]
