"""What a sweep that runs has shown so far: energy per token, and how trials failed."""

from __future__ import annotations

from dataclasses import dataclass

from joulemark.warehouse.schema.reasons import BOUNDARIES
from joulemark.warehouse.store.location import Warehouse


@dataclass(frozen=True)
class EnergySoFar:
    """Energy per output token of the valid trials in one boundary and fidelity; None where no token was counted."""

    boundary: str
    fidelity: str
    trials: int
    j_per_token: float | None


@dataclass(frozen=True)
class SoFar:
    """All of it. ``failures`` counts attempts by failure class, or by the reasons against those that ran to the end."""

    energies: tuple[EnergySoFar, ...] = ()
    failures: tuple[tuple[str, int], ...] = ()
    warnings: tuple[str, ...] = ()


def so_far(warehouse: Warehouse, sweep: str) -> SoFar:
    """Return what the trials that this sweep has finished come to, each in its narrowest boundary.

    Raises WarehouseError or QueryError where that cannot be read.
    """
    # DuckDB takes a while to load, and most commands do without it.
    from joulemark.warehouse.query.connection import quoted
    from joulemark.warehouse.query.open import open_warehouse

    with open_warehouse(warehouse) as connection:
        name = quoted(sweep)
        order = ", ".join(quoted(b) for b in BOUNDARIES)
        energies = connection.sql(
            "WITH narrowest AS (FROM trial_results SELECT *, row_number() OVER "  # noqa: S608 -- all of it is quoted
            f"(PARTITION BY trial ORDER BY list_position([{order}], boundary)) AS place WHERE sweep = {name}) "
            "FROM narrowest SELECT boundary, fidelity, count(*) AS trials, "
            "sum(energy_j) / nullif(sum(output_tokens), 0) AS j_per_token "
            "WHERE place = 1 AND valid GROUP BY boundary, fidelity "
            f"ORDER BY list_position([{order}], boundary), fidelity"
        ).to_pylist()
        failures = connection.sql(
            "FROM failures SELECT CASE outcome WHEN 'failed' THEN coalesce(failure_class, 'failed') "
            "ELSE 'invalid: ' || array_to_string(reasons, ', ') END AS class, count(*) AS attempts "
            f"WHERE sweep = {name} GROUP BY ALL ORDER BY attempts DESC, class"
        ).to_pylist()
        warnings = tuple(connection.warnings)
    return SoFar(
        tuple(EnergySoFar(**row) for row in energies),
        tuple((row["class"], row["attempts"]) for row in failures),
        warnings,
    )
