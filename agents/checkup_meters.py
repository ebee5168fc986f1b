"""How often the meters of this node show something new, found out by reading them for a second or two."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from joulemark.agents.meters.meter import Meter
from joulemark.agents.sampler.probe import Probe, timings

UNKNOWN_S = 0.1


def measured(meters: Sequence[Meter]) -> dict[str, dict[str, Any]]:
    """Return what the meters say of themselves, with ``update_period_s`` and ``read_us``.

    The period is None where nothing moved, and where the numbers are computed anew at every read.
    """
    probes = {meter.name: Probe() for meter in meters}
    begun = time.monotonic()
    due = dict.fromkeys(probes, begun)
    while not all(probe.enough(time.monotonic() - begun) for probe in probes.values()):
        for meter in meters:
            if time.monotonic() >= due[meter.name]:
                probe = probes[meter.name]
                _read(meter, probe)
                due[meter.name] = time.monotonic() + probe.interval_s
        time.sleep(max(0.0, min(due.values()) - time.monotonic()))
    found = timings(probes, UNKNOWN_S)
    return {
        meter.name: {
            **meter.describe(),
            "scopes": sorted({c.scope for c in meter.channels}),
            "fidelities": sorted({c.fidelity for c in meter.channels}),
            "update_period_s": None if _computed(meter) else found[meter.name].update_s,
            "read_us": found[meter.name].read_us,
        }
        for meter in meters
    }


def _computed(meter: Meter) -> bool:
    return all(channel.fidelity in ("modelled", "simulated") for channel in meter.channels)


def _read(meter: Meter, probe: Probe) -> None:
    before, cpu = time.monotonic(), time.thread_time()
    readings = meter.read()
    after = time.monotonic()
    probe.add((before + after) / 2, after - before, time.thread_time() - cpu, readings)
