"""The parsers of text from outside. Each may return, or raise what it declares; nothing else."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from joulemark.agents import prometheus
from joulemark.agents.client.events import StreamReader
from joulemark.agents.client.sse import BrokenStream
from joulemark.agents.meters.prometheus.channels import Channels
from joulemark.agents.meters.prometheus.mapping import mapping_of
from joulemark.agents.meters.rapl import RaplMeter
from joulemark.warehouse.errors import BadInput, MeterError
from joulemark.warehouse.verify import meter_log
from joulemark.workloads.meters import MeterSource

INT32, INT64 = 1 << 31, 1 << 63
SCRAPED = ("dcgm", "node", "ipmi", "kepler")
MAPPINGS = {name: mapping_of(MeterSource(name, name, ("http://x/",))) for name in SCRAPED}


@dataclass(frozen=True)
class Target:
    """``parse`` takes the input and checks what it returns; ``declared`` are the errors that it may raise."""

    name: str
    parse: Callable[[bytes], None]
    declared: tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]

    def accepts(self, data: bytes) -> bool:
        """Return whether the input parsed, False where it was refused as declared. Any other error comes through."""
        try:
            self.parse(data)
        except self.declared:
            return False
        return True


def exposition(data: bytes) -> None:
    """Prometheus text: any bytes will do."""
    found = prometheus.samples(data)
    assert all(s.name and isinstance(s.value, float) for s in found)
    assert all(isinstance(k, str) and isinstance(v, str) for s in found for k, v in s.labels.items())
    assert set(prometheus.summed(data.decode(errors="replace"))) == {s.name for s in found}


def scrape(data: bytes) -> None:
    """A page of an exporter, as its mapping reads it; the length says which exporter."""
    exporter = SCRAPED[len(data) % len(SCRAPED)]
    for value in Channels(MAPPINGS[exporter], MeterSource(exporter, exporter, ("http://x/",)), "node").values(data):
        assert (value.reason is None) or "\n" not in value.reason
        assert (value.power_mw is None and value.energy_uj is None) <= (value.reason is not None)
        assert value.power_mw is None or 0 <= value.power_mw < INT32
        assert value.energy_uj is None or 0 <= value.energy_uj < INT64


def events(data: bytes) -> None:
    """Server-sent events, cut in two where the first byte says."""
    reader = StreamReader()
    at = data[0] if data else 0
    counts = reader.feed(data[:at]), reader.feed(data[at:]), reader.feed(b"\n\n")
    assert min(counts) >= 0
    assert reader.seen == sum(counts)
    assert reader.untimed_tokens >= 0


def powercap(data: bytes) -> None:
    """The files of two zones, divided by ``|``: name, range, counter, the next counter, limit."""
    root = _folder()
    fields = [*data.split(b"|"), b"", b"", b"", b"", b""]
    for zone, shift in (("intel-rapl:0", 0), ("intel-rapl:0:0", 1)):
        for number, name in enumerate(("name", "max_energy_range_uj", "energy_uj")):
            (root / zone / name).write_bytes(fields[(number + shift) % len(fields)])
    (root / "intel-rapl:0" / "constraint_0_power_limit_uw").write_bytes(fields[4])
    meter = RaplMeter.found(root)
    assert meter is not None
    first = meter.read()
    (root / "intel-rapl:0" / "energy_uj").write_bytes(fields[3])
    for before, after in zip(first, meter.read(), strict=True):
        for reading in (before, after):
            assert (reading.energy_uj is None) == (reading.reason is not None)
            assert reading.energy_uj is None or 0 <= reading.energy_uj < INT64
        # It falls where the register was reset, and then to what that shows.
        rises = before.energy_uj is None or after.energy_uj is None or after.energy_uj >= before.energy_uj
        assert rises or str(after.energy_uj) == fields[3].decode().strip().lstrip("0").rjust(1, "0")


def wall_meter(data: bytes) -> None:
    """The log of a wall meter."""
    log = meter_log.parse(data)
    assert len(log.t_us) == len(log.power_w)
    assert all(isinstance(t, int) for t in log.t_us)
    assert all(map(math.isfinite, log.power_w))


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def _folder() -> Path:
    """Return a powercap tree that is made once: in memory where the machine has such a place."""
    if not _FOLDERS:
        memory = Path("/dev/shm")  # noqa: S108 -- the folder below it is our own
        _FOLDERS.append(tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None))
        for zone in ("intel-rapl:0", "intel-rapl:0:0"):
            (Path(_FOLDERS[0].name) / zone).mkdir()
    return Path(_FOLDERS[0].name)


PAGES = (
    b'DCGM_FI_DEV_POWER_USAGE{UUID="GPU-1",GPU_I_ID="3"} 52.6\n'
    b'DCGM_FI_DEV_POWER_USAGE{UUID="GPU-1"} 52.7 1700000000123\n',
    b'node_rapl_package_joules_total{index="0",path="/sys/class/powercap/intel-rapl:0"} 1.17e+06\n'
    b'node_power_meter_average_watts{meter="A"} 9\n'
    b'node_power_meter_info{meter="A",oem_info="Grace Power Socket 0"} 1\n',
    b"# TYPE ipmi_dcmi_power_consumption_watts gauge\nipmi_dcmi_power_consumption_watts 1874\n",
    b'kepler_node_cpu_joules_total{zone="package"} 1\nkepler_platform_watts{power_control_name="Server"} 1500\n',
)
"""A page of each exporter in ``SCRAPED``."""

TARGETS = (
    Target(
        "exposition",
        exposition,
        (),
        (
            b"# HELP up Scraped.\n# TYPE up gauge\nup 1\n",
            b'DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-1",modelName="NVIDIA GB200"} 186.32 1700000000123\n',
            b'http_requests_total{method="post",path="a\\"b\\\\c\\n"} 3.0e+02\nx_bucket{le="+Inf"} 144\n',
            b'node_rapl_package_joules_total{index="0",path="/sys/x"} 1.17e+06\nnan_metric NaN\n# EOF\n',
        ),
    ),
    Target(
        "scrape",
        scrape,
        (MeterError,),
        tuple(page + b" " * ((number - len(page)) % len(SCRAPED)) for number, page in enumerate(PAGES)),
    ),
    Target(
        "events",
        events,
        (BrokenStream,),
        (
            b'data: {"choices":[{"text":"a","finish_reason":null}],"usage":{"completion_tokens":2}}\n\n',
            b'data: {"choices":[{"text":"b"}],"timings":{"predicted_n":3}}\n\ndata: [DONE]\n\n',
            b'data: {"choices":[],"usage":{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}}\r\n\r\n',
            b'data: {"error":{"message":"too long","code":400}}\n\nerror: {"message":"no"}\n: comment\n',
        ),
    ),
    Target(
        "powercap",
        powercap,
        (MeterError,),
        (
            b"package-0\n|262143328850\n|123456789\n|123999999\n|350000000\n",
            b"package-1-die-0\n|262143328850\n|262143328840\n|9\n|4095000000\n",
            b"psys\n|4294967295\n|4294967290\n|12\n",
            b"dram|65712999613|0|65712999613",
            b"core\n|1\n|1\n|0\n",
        ),
    ),
    Target(
        "wall meter",
        wall_meter,
        (BadInput,),
        (
            b"Time,07-17-2024 09:44:23.305,Watts,2406.500000,Volts,239.166667,Amps,3.478000,PF,0.964409,Mark,x\n",
            b"Time,12-31-1999 23:59:59.999,Watts,-1.5\r\nTime,01-01-2000 00:00:00.000,Watts,1e3,Ch1,Watts,5\n\n",
        ),
    ),
)
