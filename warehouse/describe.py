"""The page on the data, made from the schemas, the views' comments and the examples.

``python -m joulemark.warehouse.describe > docs/data.md`` writes it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

import pyarrow as pa

from joulemark.warehouse.build.statistics import CONFIDENCE
from joulemark.warehouse.examples import EXAMPLES
from joulemark.warehouse.query.sites import Site
from joulemark.warehouse.schema import DATASETS, Dataset
from joulemark.warehouse.schema.reasons import BOUNDARIES, FAILURE_CLASSES, FIDELITIES, GRADES, REASONS, SCOPES
from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.views.docs import ViewDoc, all_docs

MANIFEST_FIELDS = {
    "trial": "name of the trial, `<cell>-<devices>-s<start>r<repeat>a<attempt>`",
    "cell": "hash of `factors`",
    "deployment": "hash of the factors that decide how the engine starts",
    "sweep": "sweep that ran it",
    "start": "number of the engine start",
    "repeat": "number of the repeat within the start",
    "attempt": "number of the attempt, 0 for the first",
    "factors": "the cell's resolved factors",
    "planned_repeats": "repeats per start, fixed beforehand",
    "planned_starts": "engine starts, fixed beforehand",
    "outcome": "`done` or `failed`",
    "reasons": "what speaks against it, as the agents saw it",
    "nodes": "per node: boot, devices, accelerator, and window, cold idle and loaded idle on that node's clock",
    "started_us": "start of the trial [us since 1970]",
    "ended_us": "end of the trial [us since 1970]",
    "model": "facts of the model: architecture, parameters, where they come from",
    "failure_class": "why it failed",
    "error": "the error in words",
    "engine": "the engine as started (version, arguments, environment) and as it describes itself",
    "client": "how the load client fared in the window",
    "traces": "digest over the content of each sealed file: rows, first and last instant, sums",
    "versions": "versions of joulemark, Python and libraries",
    "simulated": "whether engine or meter was the simulator",
    "duplicate_of": "trial that was committed first, where two clusters ran the same; such a manifest is never counted",
    "schema_version": "version of this record",
}
"""Meaning of every field of `TrialManifest`."""

SITE_FIELDS = {
    "gpu_hour": "price of one GPU for one hour, or of one node where the engines ran on the CPU",
    "electricity_per_kwh": "price of electricity [1/kWh]",
    "pue": "power usage effectiveness of the place",
    "includes_power": "whether the GPU-hour includes electricity",
    "currency": "currency of the prices",
    "as_of": "date of the prices",
}
"""Meaning of every field of `Site`."""

INTRODUCTION = f"""\
# The data

*Made from the code by `python -m joulemark.warehouse.describe`; do not edit by hand.*

Everything that joulemark keeps lies in one folder or object-store prefix, the warehouse: traces and computed figures as
Parquet, trial manifests as JSON. `joulemark sql "from leaderboard"` asks it with DuckDB; in Python,
`joulemark.open("joulemark-warehouse").sql("from leaderboard")` gives an Arrow table. Queries can only read.

Names carry units. Instants are UTC, in microseconds, on the clock of the node that is named beside them. A reading that
is missing is NULL, with a reason, never 0. Traces hold integers (`power_mw`, `energy_uj`); views give watts and joules.

What lies below `built/` is computed from traces and manifests when the warehouse is opened, once per trial. It can be
deleted at any time.

How energy of a window is found: the difference of the device's cumulative counter, its edges interpolated between
changes of the counter; beside it the integral of power readings (trapezoid over the field's updates). `chosen` says
which counts: the counter's figure where it is known to 0.5 % or better than the integral. `uncertainty_j` is a half
width at 95 %, made of parts that stand beside it; the sensor's gain and offset, which are common to all figures of a
device, are in none of them ([how they are found](method.md#energy)).

How a cell's interval is found: a t interval at {CONFIDENCE:.0%} on the logarithms of its trials' J per output token.
Trials of one engine start on one node count as one cluster where there are at least two such clusters; with one, the
interval says nothing about other starts or nodes. Two trials give a wide interval, and that is right. Rank ranges come
from Welch's tests between all pairs of comparable rows, with Holm's correction. A sensor's gain error is in none of it.
"""


def data_page() -> str:
    """Return the page as Markdown."""
    sections = [
        INTRODUCTION,
        _examples(),
        *_views(),
        "## Datasets\n\nEach is also a view of the same name.\n",
        *(_dataset(d) for d in DATASETS.values()),
        _manifest(),
        _site(),
        _words(),
    ]
    return "\n".join(sections)


def _examples() -> str:
    parts = [f"{e.question}\n\n```sql\n{e.sql}\n```\n" for e in EXAMPLES]
    return "\n".join(["## Questions to copy\n", *parts])


def _views() -> Iterable[str]:
    yield "## Views\n\nFrom the results down to the records.\n"
    for doc in reversed(all_docs()):
        yield _view(doc)


def _view(doc: ViewDoc) -> str:
    title = f"### {doc.name}\n\n{doc.text}\n"
    if doc.call:
        title += f"\nCall it as `{doc.call}`, for example:\n\n```sql\n{doc.example}\n```\n"
    return (
        title + "\n" + _table(("column", "unit", "meaning"), [(f"`{c.name}`", c.unit, c.meaning) for c in doc.columns])
    )


def _dataset(dataset: Dataset) -> str:
    rows = [
        (f"`{c.name}`", _type(c.type), c.meaning + (" (may be NULL)" if c.nullable else "")) for c in dataset.columns
    ]
    head = f"### {dataset.name}\n\nOne row is {dataset.row}. Version {dataset.version}.\n\n"
    return head + _table(("column", "type", "meaning"), rows)


def _manifest() -> str:
    rows = [(f"`{f.name}`", MANIFEST_FIELDS[f.name]) for f in fields(TrialManifest)]
    head = (
        "## Trial manifests\n\n`trials/<trial>.json`: a trial exists when its manifest does. In SQL, with JSON text\n"
    )
    head += "for open fields, the table `manifests`; the view `trials` has the factors as columns.\n\n"
    return head + _table(("field", "meaning"), rows)


def _site() -> str:
    rows = [(f"`{f.name}`", SITE_FIELDS[f.name]) for f in fields(Site)]
    head = "## Prices\n\n`sweeps/<sweep>/site.json`; in SQL the table `sites` with the column `sweep`. NULL: not known."
    head += "\n\n"
    limits = (
        "\n## Limits on latency\n\n`sweeps/<sweep>/slo.json`, in seconds; in SQL the table `slos` with the columns\n"
        "`sweep`, `latency` (`ttft`, `tpot`, `itl`, `e2e`), `statistic` (`mean`, `p50`, ...) and `limit_ms`.\n"
    )
    return head + _table(("field", "meaning"), rows) + limits


def _words() -> str:
    classes = {
        name: meaning + (" (retried)" if retried else "") for name, (meaning, retried) in FAILURE_CLASSES.items()
    }
    groups = {
        "Boundaries: what a figure's energy contains": BOUNDARIES,
        "Scopes: what a meter's number contains": SCOPES,
        "Fidelities: how a number arises": FIDELITIES,
        "Reasons: what speaks against a trial; none of them means valid": REASONS,
        "Failure classes": classes,
        "Grades": GRADES,
    }
    tables = (f"### {title}\n\n" + _table(("word", "meaning"), _named(words)) for title, words in groups.items())
    return "\n".join(["## Words\n", *tables])


def _named(words: dict[str, str]) -> list[tuple[str, str]]:
    return [(f"`{word}`", meaning) for word, meaning in words.items()]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def _type(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "instant"
    if pa.types.is_list(kind):
        return f"list of {kind.value_type}"
    return "text" if pa.types.is_string(kind) else str(kind)


if __name__ == "__main__":
    print(data_page(), end="")
