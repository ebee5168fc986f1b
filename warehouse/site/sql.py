"""What the page's SQL needs: the tables, the text of macros and views, and questions to copy."""

from __future__ import annotations

import re
from typing import Any

from joulemark.warehouse.examples import EXAMPLES
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.reasons import BOUNDARY_REASONS, FIDELITIES
from joulemark.warehouse.site.contents import PER_REQUEST, TRACES, Contents
from joulemark.warehouse.views import MACROS, ORDER, view_text

Row = dict[str, Any]

_NAMES = {"string": "VARCHAR", "double": "DOUBLE", "float": "FLOAT", "bool": "BOOLEAN", "int16": "SMALLINT"}
_NAMES |= {"int32": "INTEGER", "int64": "BIGINT", "timestamp[us, tz=UTC]": "TIMESTAMP"}

_RANKS = """\
/* rank ranges by cost at {price} a kWh, a PUE of {pue} and {gpu_hour} a GPU-hour: intervals that do not overlap */
with priced as (
  select c.cell, c.boundary, c.fidelity, c.cost_per_million as cost,
    c.gpu_cost_per_million + c.electricity_cost_per_million * s.j_per_token_low / s.j_per_token as low,
    c.gpu_cost_per_million + c.electricity_cost_per_million * s.j_per_token_high / s.j_per_token as high,
    r.model, r.quantization, r.load, r.task
  from cost({gpu_hour}, {price}, {pue}, {includes_power}) c
  join cell_statistics s using (cell, boundary, fidelity)
  join cell_results r using (cell, boundary, fidelity)
)
select a.model, a.quantization, a.load, a.cell, a.boundary, a.fidelity, a.cost,
  1 + count(*) filter (b.high < a.low) as rank_best,
  count(*) - count(*) filter (b.low > a.high) as rank_worst
from priced a
join priced b using (boundary, fidelity, task)
group by all
order by a.cost"""


def ranks_by_cost(*, gpu_hour: float, price: float, pue: float, includes_power: bool) -> str:
    """Return the query that ranks as the page does: by cost at these prices."""
    return _RANKS.format(gpu_hour=gpu_hour, price=price, pue=pue, includes_power=str(includes_power).lower())


def catalogue(contents: Contents, tables: list[Row], traces: list[Row]) -> Row:
    """Return what the page needs to know."""
    ranks = ranks_by_cost(gpu_hour=2.5, price=0.2, pue=1.2, includes_power=False)
    return {
        "tables": tables,
        "traces": traces,
        # Without raw traces their tables are there, and empty: the views over them can be made.
        "empty": {name: columns(name) for name in TRACES},
        "setup": [{"name": name, "sql": text} for name, text in _setup(contents)],
        "examples": [{"question": e.question, "sql": e.sql} for e in EXAMPLES]
        + [{"question": "Rank ranges by cost, as the page makes them.", "sql": ranks}],
    }


def columns(dataset: str) -> str:
    """Return the columns of a dataset as CREATE TABLE has them."""
    return ", ".join(f'"{c.name}" {_type(str(c.type))}' for c in DATASETS[dataset].columns)


def _setup(contents: Contents) -> list[tuple[str, str]]:
    words = {"boundary_reasons": sorted(BOUNDARY_REASONS), "fidelities": list(FIDELITIES)}
    lists = [(n, f"CREATE OR REPLACE MACRO {n}() AS [{', '.join(map(repr, w))}]") for n, w in words.items()]
    made = [n for n in ORDER if n in (*MACROS, *PER_REQUEST) and (n in MACROS or contents.has(n))]
    return lists + [(name, _again(view_text(name))) for name in made]


def _again(text: str) -> str:
    """Return the statement without comments, so that it can be run again when the tables have changed."""
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return re.sub(r"^CREATE (VIEW|MACRO)", r"CREATE OR REPLACE \1", code.strip(), count=1)


def _type(arrow: str) -> str:
    inner = re.fullmatch(r"list<\w+: (.+)>", arrow)
    return f"{_type(inner[1])}[]" if inner else _NAMES[arrow]
