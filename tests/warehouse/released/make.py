"""Keep a small sweep as this version writes it, with the figures that it has: once for each version that is released.

``python tests/warehouse/released/make.py`` writes ``<version>.tar`` and ``<version>.json`` beside itself.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from synthetic import Meter, Spec, add_trial

from joulemark import __version__
from joulemark.warehouse.bundle.export import export
from joulemark.warehouse.query.open import Connection, open_warehouse
from joulemark.warehouse.query.snapshot import take
from joulemark.warehouse.store.location import Warehouse

HERE = Path(__file__).parent
GPU = Meter("nvml", "GPU-1", "gpu_board", "counter", poll_us=40_000, step_us=100_000)
SOCKET = Meter("rapl", "package-0", "cpu_package", "counter", share=0.2)
SPECS = (
    Spec(devices=("GPU-1",), accelerator="H100", meters=(GPU, SOCKET), busy_w=400.0),
    Spec(devices=("GPU-1",), accelerator="H100", meters=(GPU, SOCKET), busy_w=410.0, repeat=1),
    Spec(quantization="q4_0", fail_every=5),
    Spec(quantization="q4_0", chunk=4, repeat=1),
)


def figures(connection: Connection) -> dict[str, list[dict[str, object]]]:
    """Return what must stay the same."""
    return {
        "trials": connection.sql(
            "from trial_results select trial, boundary, fidelity, valid, reasons, output_tokens, input_tokens, "
            "energy_j, mean_w, ttft_p50_ms order by all"
        ).to_pylist(),
        "cells": connection.sql("from leaderboard select cell, boundary, j_per_token, trials order by all").to_pylist(),
        "shares": connection.sql(
            "from request_energy select trial, count(*) as rows, sum(energy_j) as energy_j group by trial order by all"
        ).to_pylist(),
    }


def main() -> None:
    """Write both files."""
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse.at(folder)
        for number, spec in enumerate(SPECS):
            add_trial(warehouse, spec, number)
        with open_warehouse(warehouse) as connection:
            found = figures(connection)
        export(take(warehouse), SPECS[0].sweep, HERE / f"{__version__}.tar")
    (HERE / f"{__version__}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
