"""What is published of each trial: its manifest, its traces with their hashes, what is drawn of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from typing import Any

import msgspec

from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.site.contents import Contents
from joulemark.warehouse.site.rows import number
from joulemark.warehouse.site.tables import arrow_stream, as_file
from joulemark.warehouse.site.target import Target
from joulemark.warehouse.site.traces import drawn, trial_traces

Row = dict[str, Any]

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}")
_COMPONENT = (
    *("boundary", "interval", "node", "device", "scope", "meter", "method", "fidelity", "seconds", "energy_j"),
    *("uncertainty_j", "gain_fraction", "offset_w", "disagreement", "coverage", "peak_w", "reasons"),
)


def file_name(name: str) -> str:
    """Return a name for files: itself where it is a harmless one, else its hash."""
    return name if _PLAIN.fullmatch(name) else hashlib.sha256(name.encode()).hexdigest()[:24]


def write_trials(contents: Contents, target: Target, *, traces: bool, sql: bool) -> list[Row]:
    """Write every trial's files; return the list of raw traces that SQL can load: trial, dataset, file, bytes."""
    components: dict[str, list[Row]] = defaultdict(list)
    for row in contents.rows("trial_components"):
        components[row["trial"]].append({n: _short(row[n]) for n in _COMPONENT})
    listed: list[Row] = []
    for trial in contents.trials():
        manifest = contents.connection.snapshot.manifest(trial)
        plain = contents.redact.value(msgspec.to_builtins(manifest))
        stem = file_name(trial)
        files: list[Row] = []
        series: Row = {"power": [], "tokens": None}
        if traces:
            files, series, loadable = _write_traces(contents, target, manifest, plain, sql=sql)
            listed += loadable
        text = json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        name = f"trials/{stem}.json"
        record = {"file": name, "sha256": target.write(name, text.encode()), "bytes": len(text.encode())}
        document = {"manifest": plain, "record": record, "files": files, "components": components[trial]}
        target.script(f"data/trials/{stem}.js", f"trial:{trial}", document | {"series": series})
    return listed


def _write_traces(
    contents: Contents, target: Target, manifest: TrialManifest, plain: Row, *, sql: bool
) -> tuple[list[Row], Row, list[Row]]:
    files, loadable = [], []
    found = trial_traces(contents, manifest)
    stem = file_name(manifest.trial)
    for dataset, table in found.items():
        name = f"traces/{stem}.{dataset}.parquet"
        content = as_file(table, "parquet")
        digest = target.write(name, content)
        files.append(
            {"dataset": dataset, "file": name, "rows": table.num_rows, "sha256": digest, "bytes": len(content)}
        )
        if sql:
            name = f"traces/{stem}.{dataset}.arrow"
            stream = arrow_stream(table)
            target.write(name, stream)
            loadable.append({"trial": manifest.trial, "dataset": dataset, "file": name, "bytes": len(stream)})
    return files, drawn(found, plain), loadable


def _short(value: Any) -> Any:
    return number(value) if isinstance(value, float) else value
