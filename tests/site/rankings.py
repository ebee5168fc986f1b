"""The query that ranks as the page does, for any assumptions and by whatever the page can rank by."""

from __future__ import annotations

BY = {
    "energy": "j * {k}",
    "cost": "gpu_cost + {power}",
    "response-energy": "cost_per_response({response}, attempts, j * {k}, {other}, {otherJ})",
    "response-cost": "cost_per_response({response}, attempts, (gpu_cost + {power}) / 1e6, {other}, {otherPrice})",
    # More is better: the least comes first.
    "output": "-floor({budget} / (case when boundary = 'facility' then 1 else {pue} end * watts * {k})) * rate",
}
_POWER = (
    "(case when {includesPower} = 1 and devices > 0 then 0 else electricity_kwh(j * {k} * 1e6, boundary, {pue}) end"
    " * {price})"
)
_QUERY = """
with base as (
  select s.cell, s.boundary, s.fidelity, r.task, r.devices, v.tokens_per_s as rate, v.mean_w as watts,
    case when {utilisation} = 1 then s.j_per_token else v.j_per_output_token end as j,
    s.j_per_token_high / s.j_per_token as spread,
    c.gpu_cost_per_million / {utilisation} as gpu_cost,
    {attempts_sql} as attempts
  from cell_statistics s
  join cell_results r using (cell, boundary, fidelity)
  join utilisation_adjusted({utilisation}) v using (cell, boundary, fidelity)
  join cost({gpuHour}, {price}, {pue}, false) c using (cell, boundary, fidelity)
  join response_energy(1, $1, 0, 0) q using (cell, boundary, fidelity)
  where {limits} and s.fidelity <> 'simulated'
), valued as (
  select *, {value} as value, {low} as low, {high} as high from base
)
select a.cell || '.' || a.boundary || '.' || a.fidelity as key,
  1 + count(*) filter (b.high < a.low) as best, count(*) - count(*) filter (b.low > a.high) as worst
from (from valued where value is not null) a
join (from valued where value is not null) b using (boundary, fidelity, task)
group by all"""


def ranks(connection, metric: str, assumptions: dict, limits: dict, source: str) -> dict[str, str]:
    """Return the rank of each row that has one, as the page shows it."""
    form = BY[metric].replace("{power}", _POWER)
    value, low, high = (form.format(**assumptions, k=k) for k in ("1", "(1 / spread)", "spread"))
    query = _QUERY.format(
        **assumptions,
        attempts_sql="q.attempts" if source else assumptions["attempts"],
        limits=" and ".join([f"r.{name} <= {most}" for name, most in limits.items()] or ["true"]),
        value=value,
        low=low,
        high=high,
    )
    found = connection.duckdb.sql(query, params=[source or None]).fetchall()
    return {key: str(best) if best == worst else f"{best}–{worst}" for key, best, worst in found}
