"""What the warehouse has of deployments that failed in a way that comes again."""

from __future__ import annotations

from joulemark.warehouse.store.location import Warehouse
from joulemark.workloads.learnt import LEARNT_CLASSES, Failure

_FAILURES = """
WITH starts AS (
  SELECT
    deployment,
    any_value(failure_class) AS failure_class,
    any_value(error) AS error,
    any_value(nodes[1]) AS node,
    max(concurrency) AS concurrency,
    max(context_tokens) AS context_tokens,
    max(started_at) AS failed_at
  FROM (
    SELECT *, CASE WHEN workload ->> '$.conversation' IS NULL THEN input_tokens + output_tokens END AS context_tokens
    FROM trials
  )
  WHERE outcome = 'failed' AND failure_class IN ({classes})
  GROUP BY deployment, coalesce(engine_start, trial)
),
worked AS (
  SELECT deployment, max(ended_at) AS ended_at
  FROM trials
  WHERE outcome = 'done'
  GROUP BY deployment
)
SELECT
  starts.*,
  strftime(failed_at AT TIME ZONE 'UTC', '%Y-%m-%d') AS date
FROM starts
LEFT JOIN worked USING (deployment)
WHERE ended_at IS NULL OR ended_at < failed_at OR failure_class = 'out_of_memory'
ORDER BY failed_at DESC
"""


def failures(warehouse: Warehouse) -> dict[str, list[Failure]]:
    """Return the failures by deployment, the latest first; none where the warehouse does not exist yet.

    A deployment that has worked since has none, but for those of memory, which depend on the load.
    """
    if not warehouse.exists("trials"):
        return {}
    # DuckDB takes a while to load, and most commands do without it.
    from joulemark.warehouse.query.open import open_warehouse

    classes = ", ".join(f"'{name}'" for name in sorted(LEARNT_CLASSES))
    found: dict[str, list[Failure]] = {}
    with open_warehouse(warehouse) as connection:
        for row in connection.sql(_FAILURES.format(classes=classes)).to_pylist():
            failure = Failure(
                deployment=row["deployment"],
                failure_class=row["failure_class"],
                error=row["error"] or "no message was kept",
                date=row["date"],
                node=row["node"],
                concurrency=row["concurrency"],
                context_tokens=row["context_tokens"],
            )
            found.setdefault(failure.deployment, []).append(failure)
    return found
