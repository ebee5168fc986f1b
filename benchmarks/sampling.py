"""What sampling costs, how late it is, and whether its memory grows.

``python benchmarks/sampling.py`` runs the sampler as the agent does, unmodified, on the double of NVML under tests/
(which a C compiler builds): 8 devices with 100 ms sensors whose calls keep the CPU busy for 50 us each. Every figure
has its limit beside it; ends with 1 where one is missed. CPU times are the kernel's, of the sampler's process.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "nvml_double"))
os.environ.setdefault("JOULEMARK_HOME", tempfile.mkdtemp())
from nvml_double import Double, build, devices
from truth import Square

from joulemark.agents.meters.meter import Channel, Reading
from joulemark.agents.sampler import loop, recorder
from joulemark.agents.sampler.process import SamplerProcess
from joulemark.agents.sampler.protocol import SamplerConfig, Timing
from joulemark.agents.spool.segment import read_segment

DEVICES, CALL_US, SENSOR_MS = 8, 50.0, 100.0
REST_AT_MOST, AT_10_HZ_AT_MOST = 0.005, 0.01
LATE_P99_AT_MOST_US = 2_000
BARE_S = 10
HOUR_S, GROWTH_AT_MOST_KIB = 3_600, 1_024
PARTS = ("sampler", "nvml", "device_state")
missed = []


def say(what: str, value: str, limit: str, well: bool = True) -> None:
    """Print one figure."""
    print(f"{what:<66} {value:>14}   {limit}{'' if well else '   MISSED'}", flush=True)
    if not well:
        missed.append(what)


@dataclass
class Measured:
    """What one run of the sampler cost. Shares are of one core, and medians over its seconds."""

    every_s: float
    update_s: float | None
    reads_per_s: float
    share: dict[str, float]
    """Of the processes ``sampler`` and ``agent``, and of the reads of ``nvml`` and ``device_state`` in the former."""
    lateness_us: Any
    late: float


def sample(library: Path, seconds: float, call_us: float, every_s: float | None) -> Measured:
    """Run the sampler for so long on the double; at its own pace where none is given."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        world = devices(
            DEVICES, Square(150, 650, 1.7), busy_us=call_us, step_ms=(SENSOR_MS, 0.0), refresh_ms=(SENSOR_MS, 0.0)
        )
        double = Double(folder, library, world)
        timings = {} if every_s is None else {"nvml": Timing(every_s)}
        config = SamplerConfig("node", place, 0.1, timings=timings)
        with mock.patch.dict(os.environ, double.environment):
            sampler = SamplerProcess(config)
            sampler.start()
        sampler.rotate()
        time.sleep(seconds)
        segments = sampler.rotate()
        timing = sampler.timings["nvml"]
        sampler.stop()
        tables = {s.name.partition("-")[0]: read_segment(s) for s in segments}
        return _measured(tables, timing)


def _measured(tables: dict[str, pa.Table], timing: Timing) -> Measured:
    rounds = tables["rounds"].to_pylist()
    by = {name: [r for r in rounds if r["meter"] == name] for name in (*PARTS, "agent")}
    span_us = sum(r["span_us"] for r in by["sampler"])
    reads = sum(r["rounds"] for r in by["nvml"])
    return Measured(
        every_s=timing.every_s,
        update_s=timing.update_s,
        reads_per_s=reads / span_us * 1e6,
        # The last row of each is short: it ends with the order to rotate.
        share={name: statistics.median(r["cpu_us"] / r["span_us"] for r in rows[:-1]) for name, rows in by.items()},
        lateness_us=_lateness_us(tables["power"], timing.every_s),
        late=sum(r["late"] for r in by["nvml"]) / reads,
    )


def _lateness_us(power: pa.Table, every_s: float) -> Any:
    """Return how far the middle of each read lies behind where the earliest ones put it: deadlines are a grid."""
    period_us = every_s * 1e6
    place_us = np.unique(power["t"].cast("int64").to_numpy()) % period_us
    # The grid begins where many reads lie closely together; a late one comes after it, round the period.
    edge_us = np.median((place_us - place_us[0] + period_us / 2) % period_us) + place_us[0] - period_us / 2
    early_us = np.percentile((place_us - edge_us + period_us / 4) % period_us, 1) - period_us / 4
    return (place_us - edge_us - early_us + 100) % period_us - 100


def cost(library: Path, seconds: float) -> None:
    """Print what the sampler costs beside its calls, at its own pace and at 10 reads a second."""
    own = sample(library, seconds, CALL_US, None)
    say("update period that was measured", f"{own.update_s or 0:.4f} s", f"sensor: {SENSOR_MS / 1e3} s")
    say("reads a second at the pace that follows", f"{own.reads_per_s:.1f}", "20 to 30", 19.5 <= own.reads_per_s <= 30)
    _cost_at(own, "own pace", library)
    at_10 = sample(library, seconds, CALL_US, 0.1)
    _cost_at(at_10, "10 reads a second", library)
    in_all = at_10.share["sampler"] - at_10.share["device_state"]
    say("10 reads a second: power in all", f"{in_all:.2%}", "limit 1% of a core", in_all <= AT_10_HZ_AT_MOST)


def _cost_at(one: Measured, name: str, library: Path) -> None:
    calls = bare_calls(library, one.every_s, CALL_US)
    rest = one.share["sampler"] - one.share["device_state"] - calls
    say(f"{name}: the calls alone, {one.reads_per_s:.1f} x {DEVICES} x {CALL_US:g} us", f"{calls:.2%}", "")
    say(f"{name}: sampler beyond them", f"{rest:.2%}", "limit 0.5% of a core", rest <= REST_AT_MOST)
    say(f"{name}:   of the calls, a loop that only wakes as often", f"{bare_calls(None, one.every_s, 0):.2%}", "")
    say(f"{name}: device_state, once a second", f"{one.share['device_state']:.2%}", "(not in the above)")
    say(f"{name}: sampler in all", f"{one.share['sampler']:.2%}", "")
    say(f"{name}: agent, waiting", f"{one.share['agent']:.2%}", "")
    p50, p99 = np.percentile(one.lateness_us, [50, 99]) / 1e3
    limit = f"limit 2 ms on an idle machine (load average now {os.getloadavg()[0]:.1f})"
    say(f"{name}: lateness p50 and p99", f"{p50:.2f}, {p99:.2f} ms", limit, p99 * 1e3 <= LATE_P99_AT_MOST_US)
    say(f"{name}: reads more than 2 ms late, as `rounds` says", f"{one.late:.2%}", "")


BARE = """
import pynvml, statistics, sys, time
every_s, seconds, devices = float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
calls = []
if devices:
    pynvml.nvmlInit()
    call, two = pynvml.nvmlLib.nvmlDeviceGetFieldValues, (pynvml.c_nvmlFieldValue_t * 2)()
    two[0].fieldId, two[1].fieldId = pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, pynvml.NVML_FI_DEV_POWER_INSTANT
    calls = [(call, pynvml.nvmlDeviceGetHandleByIndex(i), two) for i in range(devices)]
shares, due = [], time.monotonic()
second, used = due, time.thread_time()
while len(shares) < seconds:
    due += every_s
    time.sleep(max(0, due - time.monotonic()))
    for call, handle, two in calls:
        call(handle, 2, two)
    now = time.monotonic()
    if now >= second + 1:
        shares.append((time.thread_time() - used) / (now - second))
        second, used = now, time.thread_time()
print(statistics.median(shares))
"""
"""Wakes at absolute deadlines and does nothing but the calls: what they cost in Python, whoever makes them."""


def bare_calls(library: Path | None, every_s: float, call_us: float) -> float:
    """Return the share of a core of that loop; without a library it only wakes."""
    with tempfile.TemporaryDirectory() as place:
        environment = dict(os.environ)
        if library is not None:
            world = devices(
                DEVICES, Square(150, 650, 1.7), busy_us=call_us, step_ms=(SENSOR_MS, 0.0), refresh_ms=(SENSOR_MS, 0.0)
            )
            environment |= Double(Path(place), library, world).environment
        arguments = [str(every_s), str(BARE_S), str(DEVICES if library is not None else 0)]
        done = subprocess.run(
            [sys.executable, "-c", BARE, *arguments], env=environment, check=True, capture_output=True, text=True
        )
    return float(done.stdout)


class SimulatedTime:
    """Stands for the module ``time`` and for the inbox: waiting for a deadline jumps to it."""

    def __init__(self, end_s: float) -> None:
        self.now_ns, self.end_ns = 0, round(end_s * 1e9)

    def monotonic_ns(self) -> int:
        """Return simulated time."""
        return self.now_ns

    thread_time_ns = process_time_ns = monotonic_ns

    def wait(self, deadline_ns: int) -> list[Any] | None:
        """Be at the deadline at once; None at the end."""
        self.now_ns = max(self.now_ns, deadline_ns)
        return None if self.now_ns >= self.end_ns else []


class Still:
    """A meter of 8 devices that takes no time; says what memory is in use at chosen moments."""

    name, every_s = "still", 0.04
    channels = tuple(Channel(f"GPU-{i}", "gpu_board", "counter") for i in range(DEVICES))

    def __init__(self, clock: SimulatedTime) -> None:
        self.clock, self.energy_uj, self.peaks_kib = clock, 0, []

    def read(self) -> list[Reading]:
        """Return the next readings."""
        self.energy_uj += 12_000_000
        if self.clock.now_ns >= (len(self.peaks_kib) + 1) * 60_000_000_000:
            self.peaks_kib.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return [Reading(c, 300_000 + self.energy_uj % 977, self.energy_uj) for c in self.channels]

    def describe(self) -> dict[str, object]:
        """Return nothing much."""
        return {}

    @staticmethod
    def hear(report: object) -> None:
        """Take what the sampler tells its agent, and forget it."""


def remember(hours: float) -> None:
    """Sample in simulated time and print peak KiB after five minutes and at the end, readings, and CPU ns."""
    with tempfile.TemporaryDirectory() as folder:
        clock = SimulatedTime(hours * HOUR_S)
        meter, begun_ns = Still(clock), time.process_time_ns()
        with (
            mock.patch.object(loop, "time", clock),
            mock.patch.object(recorder, "time", clock),
            mock.patch.object(loop, "say", Still.hear),
        ):
            loop.Sampler(SamplerConfig("n", folder, 0.1, run="run-1"), [meter], inbox=clock).run()  # type: ignore[arg-type]
        used_ns = time.process_time_ns() - begun_ns
        rows = sum(read_segment(s).num_rows for s in Path(folder).glob("power-*"))
        print(meter.peaks_kib[4], meter.peaks_kib[-1], rows, used_ns)


def memory(hours: float) -> None:
    """Print how far an hour of samples makes the sampler's memory grow."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, __file__, "--remember", str(hours)], capture_output=True, text=True, check=True
    )
    took_s = time.monotonic() - begun
    early_kib, late_kib, rows, used_ns = map(int, done.stdout.split())
    say(
        f"peak memory after {hours:g} h ({rows:,} readings in {took_s:.0f} s) over that after 5 min",
        f"+{late_kib - early_kib} KiB",
        f"limit {GROWTH_AT_MOST_KIB} KiB, of {early_kib // 1024} MiB",
        late_kib - early_kib <= GROWTH_AT_MOST_KIB,
    )
    share = used_ns / 1e9 / (hours * HOUR_S)
    say("CPU of that at 25 reads a second: caches warm, no waking, no NVML", f"{share:.2%}", "")


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each run of the sampler")
    parser.add_argument("--hours", type=float, default=1.0, help="simulated hours for the memory figure")
    parser.add_argument("--remember", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.remember:
        remember(options.remember)
        return
    with tempfile.TemporaryDirectory() as folder:
        cost(build(Path(folder)), options.seconds)
    memory(options.hours)
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
