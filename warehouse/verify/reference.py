"""Known answers from others' measurements, in a folder that is given: wall meters, and GPU sensors beside one."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from joulemark.warehouse.build.energy import power_integral
from joulemark.warehouse.build.gain import GPU_SENSOR, with_gain_j
from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.units import MW_PER_W, NS_PER_US, US_PER_S
from joulemark.warehouse.verify.case import Case, near, same
from joulemark.warehouse.verify.meter_log import instant_us, parse

MLPERF = "mlperf-inference-*/*/spl.txt.gz"
SENSORS = "gpu-power-benchmark/*/meter.parquet"
AS_DOCUMENTED = 0.001
"""How far the sensor's error may be from the documented one: it is given to a tenth of a percent."""


def reference_cases(folder: Path) -> Iterator[Case]:
    """Yield the cases of all measurements below ``folder``. Raises BadInput where none is there or can be read."""
    logs, meters = sorted(folder.glob(MLPERF)), sorted(folder.glob(SENSORS))
    if not logs and not meters:
        raise BadInput(f"{folder} holds no reference measurements: neither {MLPERF} nor {SENSORS}")
    for kind, found in (("wall meter", logs), ("GPU sensor", meters)):
        if not found:
            yield Case(kind, "reference measurements", "some", f"none below {folder}", None)
    try:
        for log in logs:
            yield from _wall_meter(log)
        for meter in meters:
            yield from _gpu_sensor(meter.parent)
    except (OSError, EOFError, KeyError, ValueError, msgspec.MsgspecError, pa.ArrowException) as error:
        raise BadInput(f"{folder}: a reference measurement cannot be read: {error}") from error


def _wall_meter(log: Path) -> Iterator[Case]:
    """Yield the mean power of one run: to the last digit as published, and as our integral gives it."""
    name, expected = log.parent.name, _expected(log.parent)
    found = parse(gzip.decompress(log.read_bytes()), str(log))
    start_us, end_us = (instant_us(expected[key]) for key in ("power_begin", "power_end"))
    watts = found.between(start_us, end_us)
    yield same("wall meter", f"{name}, samples", expected["samples_in_window"], len(watts))
    mean_w = sum(watts) / len(watts) if watts else None
    yield same("wall meter", f"{name}, mean power in watts", expected["mean_power_w"], mean_w)
    power_mw = np.rint(np.array(found.power_w) * MW_PER_W).astype(np.int64)
    estimate = power_integral(np.array(found.t_us, dtype=np.int64), power_mw, start_us, end_us)
    integral_j = expected["mean_power_w"] * (end_us - start_us) / US_PER_S
    yield near("wall meter", f"{name}, energy", integral_j, estimate.energy_j, estimate.uncertainty_j or 0.0)


def _gpu_sensor(folder: Path) -> Iterator[Case]:
    """Yield a GPU's own readings beside an external meter: the meter, the sensor's known error, what is stated."""
    name, expected = folder.name, _expected(folder)
    window = tuple(round(expected[key] / NS_PER_US) for key in ("overlap_begin_ns", "overlap_end_ns"))
    meter = power_integral(*_power(folder / "meter.parquet", "power_w"), *window)
    true_j = expected["meter_energy_j"]
    yield near("GPU sensor", f"{name}, external meter", true_j, meter.energy_j, 1e-5 * true_j)
    sensor = power_integral(*_power(folder / "nvidia_smi.parquet", "power_draw_instant_w"), *window)
    if sensor.energy_j is None or sensor.uncertainty_j is None:
        yield same("GPU sensor", f"{name}, integral", "a figure", ", ".join(sensor.reasons))
        return
    documented = expected["nvidia_smi_energy_j"] / true_j - 1
    off = sensor.energy_j / true_j - 1
    passed = abs(off - documented) <= AS_DOCUMENTED
    yield Case("GPU sensor", f"{name}, its known error", f"{documented:+.2%}", f"{off:+.2%}", passed)
    seconds = (window[1] - window[0]) / US_PER_S
    stated_j = with_gain_j(sensor.energy_j, seconds, sensor.uncertainty_j, GPU_SENSOR)
    yield near("GPU sensor", f"{name}, within what is stated", true_j, sensor.energy_j, stated_j)


def _expected(folder: Path) -> dict[str, Any]:
    return msgspec.json.decode((folder / "expected.json").read_bytes(), type=dict[str, Any])


def _power(path: Path, column: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    table = pq.read_table(path, columns=["unix_time_ns", column])
    t_us = np.rint(table["unix_time_ns"].to_numpy() / NS_PER_US).astype(np.int64)
    return t_us, np.rint(table[column].to_numpy().astype(np.float64) * MW_PER_W).astype(np.int64)
