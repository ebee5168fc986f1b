"""All datasets by name. The documentation of the data is generated from here."""

from __future__ import annotations

from joulemark.warehouse.schema.built import (
    CELL_STATISTICS,
    LEVER_EFFECTS,
    NODE_DIFFERENCES,
    PHASE_ESTIMATES,
    REQUEST_ENERGY,
    SWEEP_DRIFT,
    TRIAL_ENERGY,
    WINDOW_VARIATION,
)
from joulemark.warehouse.schema.columns import Dataset
from joulemark.warehouse.schema.imported import IMPORTED
from joulemark.warehouse.schema.nodes import CLOCKS, NODES, QUALITY
from joulemark.warehouse.schema.traces import DEVICE_STATE, ENGINE_STATE, POWER, REQUESTS, ROUNDS

DATASETS: dict[str, Dataset] = {
    d.name: d
    for d in (
        POWER,
        ROUNDS,
        DEVICE_STATE,
        REQUESTS,
        ENGINE_STATE,
        CLOCKS,
        NODES,
        QUALITY,
        IMPORTED,
        TRIAL_ENERGY,
        REQUEST_ENERGY,
        PHASE_ESTIMATES,
        WINDOW_VARIATION,
        CELL_STATISTICS,
        LEVER_EFFECTS,
        NODE_DIFFERENCES,
        SWEEP_DRIFT,
    )
}
