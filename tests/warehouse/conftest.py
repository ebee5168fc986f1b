"""Makes the builder of synthetic warehouses importable, and shares one warehouse among the tests that only read."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from synthetic import Spec, Truth, add_trial, cells

from joulemark.warehouse.query.open import Connection, open_warehouse
from joulemark.warehouse.store.location import Warehouse


@dataclass(frozen=True)
class Shared:
    """An open warehouse with four cells of two trials, one failed and one invalid trial."""

    warehouse: Warehouse
    connection: Connection
    truths: list[Truth]


SPECS = [
    Spec(),
    Spec(quantization="q4_0", busy_w=40.0),
    Spec(quantization="q4_0", busy_w=40.1, concurrency=4),
    Spec(model="tiny-moe", architecture="moe", busy_w=30.0, concurrency=4, chunk=4),
]


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    warehouse = Warehouse.at(tmp_path_factory.mktemp("shared") / "warehouse")
    truths = cells(warehouse, SPECS, spread=0.01)
    failed = Spec(quantization="f16", outcome="failed", failure_class="engine_died", error="the engine ended")
    add_trial(warehouse, failed, 50)
    add_trial(warehouse, Spec(quantization="f16", attempt=1, fail_every=3), 51)
    with open_warehouse(warehouse) as connection:
        assert connection.warnings == ()
        yield Shared(warehouse, connection, truths)
