"""What changed from one publication to the next: rows that came, went, or changed their rank, and why.

Entries carry the instant of the latest trial, not of the publishing: the same warehouse gives the same page.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

import msgspec

from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.site.target import dumps

Row = dict[str, Any]

RECORD = "publication.json"
"""What the next publication compares itself with."""
_SAME = 1e-9


@dataclass(frozen=True)
class Record:
    """What is kept of a publication: its rows, and what happened so far."""

    schema: Literal[1]
    digest: str
    as_of: str
    rows: list[Row]
    history: list[Row]


def record(rows: list[Row], failures: int, as_of: str, version: str, before: Row | None) -> Row:
    """Return the record of this publication, with all history up to it."""
    mine = [_summary(r) for r in rows]
    digest = hashlib.sha256(dumps([mine, failures])).hexdigest()
    entry = {"as_of": as_of, "digest": digest, "rows": len(rows), "failures": failures, "version": version}
    past = list(before["history"]) if before else []
    if before and before["digest"] == digest:
        # Published again: nothing happened.
        history = past
    else:
        history = [*past, {**entry, "changes": changes(before["rows"], mine) if before else []}]
    return {"schema": 1, "digest": digest, "as_of": as_of, "rows": mine, "history": history}


def read(folder: Path, *, needed: bool) -> Row | None:
    """Return the record of an earlier publication. Raises BadInput where it is ``needed`` and cannot be read."""
    path = folder / RECORD
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Record)
    except FileNotFoundError:
        if needed:
            raise BadInput(f"{folder} holds no publication of joulemark: it has no {RECORD}") from None
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise BadInput(f"{path} is no record of a publication; take it away to begin a new history") from error
    return msgspec.to_builtins(found)  # type: ignore[no-any-return]


def changes(before: list[Row], after: list[Row]) -> list[Row]:
    """Return what changed, row by row, each with why."""
    old, new = ({_key(r): r for r in rows} for rows in (before, after))
    groups_changed = {r["group"] for k, r in new.items() if k not in old} | {
        r["group"] for k, r in old.items() if k not in new
    }
    found = []
    for key, row in new.items():
        if key not in old:
            found.append(
                {"what": "new", "label": row["label"], "rank": _rank(row), "why": f"{row['trials']} valid trials"}
            )
        elif _rank(row) != _rank(old[key]) or _moved(old[key]["j"], row["j"]):
            found.append(_changed(old[key], row, others=row["group"] in groups_changed))
    found += [
        {
            "what": "gone",
            "label": row["label"],
            "before": _rank(row),
            "why": "it has no valid trial any more, or was left out",
        }
        for key, row in old.items()
        if key not in new
    ]
    return found


def history_html(record_: Row) -> str:
    """Return the content of the page, the latest publication first."""
    parts = []
    for i, entry in reversed(list(enumerate(record_["history"]))):
        when = str(entry["as_of"]).replace("T", " ").replace("+00:00", " UTC")
        parts.append(f"<h2>As of {escape(when)}</h2>")
        parts.append(
            f"<p>{entry['rows']} rows, {entry['failures']} failed or invalid trials; "
            f"joulemark {escape(entry['version'])}; content <code>{escape(entry['digest'][:16])}</code></p>"
        )
        if entry["changes"]:
            parts.append("<ul>" + "".join(f"<li>{escape(_sentence(c))}</li>" for c in entry["changes"]) + "</ul>")
        elif i == 0:
            parts.append("<p>The first publication: nothing to compare with.</p>")
        else:
            parts.append("<p>No row changed.</p>")
    return "\n".join(parts)


def _changed(old: Row, new: Row, *, others: bool) -> Row:
    moved = _rank(new) != _rank(old)
    why = []
    if new["trials"] != old["trials"]:
        why.append(f"{new['trials']} valid trials instead of {old['trials']}")
    if _moved(old["j"], new["j"]):
        why.append(f"J/token {old['j']:.4g} -> {new['j']:.4g}" + ("" if why else ", from the same trials"))
    if moved and others:
        why.append("other rows came or went")
    if moved and not why:
        why.append("other rows' figures changed")
    what = "rank" if moved else "figure"
    return {"what": what, "label": new["label"], "before": _rank(old), "rank": _rank(new), "why": "; ".join(why)}


def _sentence(change: Row) -> str:
    if change["what"] == "new":
        return f"new: {change['label']}, rank {change['rank']} ({change['why']})"
    if change["what"] == "gone":
        return f"gone: {change['label']}, was rank {change['before']} ({change['why']})"
    if change["what"] == "rank":
        return f"{change['label']}: rank {change['before']} -> {change['rank']} ({change['why']})"
    return f"{change['label']}: same rank {change['rank']} ({change['why']})"


def _summary(row: Row) -> Row:
    label = " ".join(row[n] for n in ("model", "quantization", "engine", "accelerator"))
    load = row["concurrency"] if row["concurrency"] is not None else row["arrivals"]
    return {
        **{n: row[n] for n in ("cell", "boundary", "fidelity", "j", "rank_best", "rank_worst")},
        "group": f"{row['boundary']} {row['fidelity']} {row['task']}",
        "label": f"{label}, load {load} ({row['boundary']}, {row['fidelity']})",
        "trials": row["trials_valid"],
    }


def _key(row: Row) -> tuple[str, str, str]:
    return row["cell"], row["boundary"], row["fidelity"]


def _rank(row: Row) -> str:
    best, worst = row["rank_best"], row["rank_worst"]
    return str(best) if best == worst else f"{best}-{worst}"


def _moved(old: float, new: float) -> bool:
    return abs(new / old - 1) > _SAME
