"""The simulator and the warehouse take the same peaks of the same accelerators."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from joulemark.workloads.accelerators import accelerator
from joulemark.workloads.simulation.hardware import simulated_gpus

VIEW = Path(__file__).parents[3] / "warehouse" / "views" / "accelerator_peaks.sql"


def peaks():
    connection = duckdb.connect()
    connection.execute(VIEW.read_text())
    return connection.sql("FROM accelerator_peaks").fetchall()


@pytest.mark.parametrize("row", peaks(), ids=lambda row: f"{row[0]} {row[1]}")
def test_peaks_agree_with_the_view(row):
    label, number_format, flops, bytes_per_s = row
    gpu = simulated_gpus()[label]
    assert gpu.peak_flops[number_format] == pytest.approx(float(flops))
    assert gpu.memory_bytes_per_s == pytest.approx(float(bytes_per_s))


@pytest.mark.parametrize("label", simulated_gpus())
def test_labels_are_those_of_the_table_of_accelerators(label):
    known = accelerator(label)
    assert known.memory_bytes is not None
    assert simulated_gpus()[label].memory_bytes <= known.memory_bytes
