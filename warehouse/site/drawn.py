"""Tables that the plots draw, where the warehouse has them: the columns that are drawn, and no others."""

from __future__ import annotations

from typing import Any

from joulemark.warehouse.site.contents import Contents
from joulemark.warehouse.site.rows import as_columns

_PLACE = ("boundary", "fidelity")
DRAWN = {
    "phase_energy": (
        *("cell", *_PLACE, "input_tokens", "output_tokens", "prefill_j_per_token", "decode_j_per_token"),
        *("measured_j", "difference"),
    ),
    "lever_effects": (
        *("cell_a", "cell_b", *_PLACE, "lever", "value_a", "value_b", "ratio", "ratio_low", "ratio_high", "p"),
    ),
    "node_results": ("cell", *_PLACE, "nodes", "to_cell"),
    "active_constraint": ("cell", "active", "utilisation", "next", "margin"),
}


def drawn_tables(contents: Contents) -> dict[str, Any]:
    """Return those that are there and have rows, by column."""
    found = {}
    for name, columns in DRAWN.items():
        rows = contents.rows(name) if contents.has(name) else []
        if rows:
            found[name] = as_columns([{c: _text(row[c]) for c in columns} for row in rows])
    return found


def _text(value: Any) -> Any:
    return " + ".join(value) if isinstance(value, list) else value
