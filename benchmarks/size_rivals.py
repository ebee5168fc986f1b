"""The same energies by joins: for three instants of each request the reading before it, not even interpolated.

Fifty nodes at a time, which is the fastest and smallest way of these joins: all at once takes twice the time and 8 GB.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import polars as pl
import pyarrow as pa
from size_data import NODES_IN_A_PACK

from joulemark.warehouse.query.snapshot import take
from joulemark.warehouse.store.layout import PACK, segment_file
from joulemark.warehouse.store.location import Warehouse

AT_ONCE = 50
INSTANTS = ("sent_at", "first_token_at", "last_token_at")

ASOF = """
CREATE OR REPLACE TABLE answer AS
WITH asked AS (
  SELECT d.device, r.request, unnest([r.sent_at, r.first_token_at, r.last_token_at]) AS t
  FROM read_parquet($requests) AS r
  JOIN devices AS d ON d.trial = r.trial
)
SELECT a.device, a.request, p.energy_uj
FROM asked AS a
ASOF JOIN read_parquet($power) AS p ON p.device = a.device AND p.t <= a.t
"""


Places = dict[str, tuple[str, str]]
"""Node and device of each trial."""


def places_of(warehouse: Warehouse) -> Places:
    """Return the node and the device of each trial."""
    rows = take(warehouse).table.select(["trial", "nodes"]).to_pylist()
    return {row["trial"]: (row["nodes"][0]["node"], row["nodes"][0]["devices"][0]) for row in rows}


def blocks(warehouse: Warehouse, places: Places) -> Iterator[tuple[list[str], list[str], pa.Table]]:
    """Yield files of power, files of requests, and the devices of the trials that are asked for."""
    nodes = sorted({node for node, _ in places.values()})
    for begin in range(0, len(nodes), AT_ONCE):
        names = set(nodes[begin : begin + AT_ONCE])
        mine = {trial: device for trial, (node, device) in places.items() if node in names}
        power = [warehouse.path(segment_file("power", n, "hour")) for n in sorted(names)]
        packs = sorted({int(n.removeprefix("node-")) // NODES_IN_A_PACK * NODES_IN_A_PACK for n in names})
        requests = [warehouse.path(f"requests/{PACK}{p:06d}.parquet") for p in packs]
        devices = pa.table({"trial": list(mine), "device": list(mine.values())})
        yield power, requests, devices


def duckdb_asof(warehouse: Warehouse, places: Places) -> dict[str, float]:
    """Find the readings with DuckDB's ASOF join."""
    rows = 0
    for power, requests, devices in blocks(warehouse, places):
        with duckdb.connect() as connection:
            connection.register("devices", devices)
            connection.execute(ASOF, {"requests": requests, "power": power})
            rows += connection.sql("SELECT count(*) FROM answer").fetchall()[0][0]
    return {"instants": rows}


def polars_asof(warehouse: Warehouse, places: Places) -> dict[str, float]:
    """Find the readings with polars' join_asof."""
    rows = 0
    for power, requests, devices in blocks(warehouse, places):
        readings = pl.scan_parquet(power).select("device", "t", "energy_uj")
        asked = (
            pl.scan_parquet(requests)
            .select("trial", "request", *INSTANTS)
            .join(pl.LazyFrame(devices), on="trial")
            .unpivot(on=list(INSTANTS), index=["device", "request"], value_name="t")
            .sort("device", "t")
        )
        joined = asked.join_asof(readings, on="t", by="device", check_sortedness=False)
        rows += joined.select("device", "request", "energy_uj").collect().height
    return {"instants": rows}
