"""The examples of docs/extending.md are run as they stand there."""

import importlib.util
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from joulemark.agents.client.conductor import Conductor
from joulemark.agents.client.job import ClientJob, Done
from joulemark.agents.clock import NodeClock, boot_id
from joulemark.agents.engines.host import EngineHost
from joulemark.agents.http import free_port
from joulemark.agents.meters import discover
from joulemark.agents.prometheus import summed
from joulemark.agents.sampler import loop
from joulemark.agents.sampler.inbox import Inbox
from joulemark.agents.sampler.loop import Sampler
from joulemark.agents.sampler.protocol import Order, SamplerConfig, line
from joulemark.agents.spool.seal import leftovers, seal
from joulemark.agents.spool.segment import read_segment
from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.schema.traces import POWER
from joulemark.warehouse.store.location import Warehouse
from joulemark.workloads.engines import catalogue
from joulemark.workloads.engines.adapter import StartFacts
from joulemark.workloads.matrix import expand
from joulemark.workloads.sweep import engine_fields, load_sweep

sys.path.insert(0, str(Path(__file__).parent))
from pages import blocks

PAGE = "docs/extending.md"
METER, METER_LINE, PROGRAM, ADAPTER, ADAPTER_LINE = blocks(PAGE, "python")
(SWEEP,) = blocks(PAGE, "yaml")
FEW_LINES = 60


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """Every process of a test takes its clock from here."""
    monkeypatch.setenv("JOULEMARK_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Import an example as a module."""

    def loaded(name, text):
        path = tmp_path / f"example_{name}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        # Dataclasses look up their own module.
        monkeypatch.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)
        return module

    return loaded


@pytest.mark.parametrize("example", [METER, PROGRAM, ADAPTER], ids=["meter", "program", "adapter"])
def test_an_example_is_short(example):
    assert 20 < len(example.splitlines()) < FEW_LINES


# The meter.


def sensor(root, number, driver, microwatts):
    folder = root / f"hwmon{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{driver}\n")
    (folder / "power1_average").write_text(f"{microwatts}\n")
    return folder / "power1_average"


@pytest.fixture
def acpi(load, tmp_path, monkeypatch):
    """The example beside joulemark's own kinds of meters, of which this machine has none."""
    module = load("acpi", METER)
    monkeypatch.setattr(module, "HWMON", tmp_path / "hwmon")
    own = {**vars(discover), "acpi": module}
    # The page's own line, where the table is.
    exec(METER_LINE, own)  # noqa: S102 -- a line of ours
    assert set(discover.FINDERS) < set(own["FINDERS"])
    monkeypatch.setattr(discover, "FINDERS", own["FINDERS"])
    monkeypatch.setattr(discover.NvmlMeter, "found", staticmethod(lambda: None))
    monkeypatch.setattr(discover.RaplMeter, "found", staticmethod(lambda: None))
    return module


def test_where_the_machine_has_none_nothing_is_found(acpi, tmp_path):
    sensor(tmp_path / "hwmon", 0, "amdgpu", 5)
    meters, warnings = discover.discover((1.0, 9.0))
    assert ([m.name for m in meters], warnings) == (["cpu-model"], [])


def test_one_that_cannot_be_read_is_said_with_what_to_do(acpi, tmp_path):
    sensor(tmp_path / "hwmon", 0, acpi.DRIVER, "nonsense")
    meters, warnings = discover.discover((1.0, 9.0))
    assert [m.name for m in meters] == ["cpu-model"]
    assert "chmod" in warnings[0]


def test_its_readings_end_in_a_power_segment(acpi, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(loop, "say", said.append)
    file = sensor(tmp_path / "hwmon", 3, acpi.DRIVER, 123_456_789)
    meters, warnings = discover.discover((1.0, 9.0))
    assert warnings == []
    # What the whole machine takes says nothing of the engine's own share.
    assert [m.name for m in meters] == ["acpi", "cpu-model"]
    taken, orders = os.pipe()
    spool = tmp_path / "spool"
    config = SamplerConfig("n", str(spool), 0.05, run=f"{boot_id()[:8]}-1")
    thread = threading.Thread(target=Sampler(config, meters, inbox=Inbox(taken)).run)
    thread.start()
    try:
        wait_for(lambda: any(report.what == "ready" for report in said))
        file.write_text("200000000\n")
        time.sleep(0.5)
        file.unlink()
        time.sleep(0.5)
    finally:
        os.write(orders, line(Order("stop")))
        thread.join(30)
    assert not thread.is_alive()
    (ready,) = [report for report in said if report.what == "ready"]
    (channel,) = ready.meters["acpi"]["channels"]
    assert channel == {"device": "acpi-hwmon3", "scope": "node_ac", "fidelity": "sampled"}
    segments = [s for s in leftovers(spool) if s.name.startswith("power")]
    rows = [r for s in segments for r in read_segment(s).to_pylist() if r["meter"] == "acpi"]
    assert {r["power_mw"] for r in rows} == {123_456, 200_000, None}
    assert all(r["energy_uj"] is None for r in rows)
    assert all("acpi: " in r["reason"] for r in rows if r["power_mw"] is None)
    trace = seal(Warehouse.at(tmp_path / "records"), POWER, segments[0], "power/n/acpi.parquet")
    assert trace.rows >= len([r for r in rows if r["power_mw"] is not None])


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


# The engine.


@pytest.fixture
def parrot(load, monkeypatch):
    """The example in the table of engines."""
    module = load("parrot", ADAPTER)
    listed = eval(ADAPTER_LINE, {"Listed": catalogue.Listed, "Parrot": module.Parrot})  # noqa: S307 -- a line of ours
    monkeypatch.setitem(catalogue.ENGINES, listed.engine.name, listed)
    monkeypatch.setattr(engine_fields, "ENGINE_NAMES", tuple(catalogue.ENGINES))
    return listed.engine


@pytest.fixture
def cell(parrot, tmp_path):
    """The one cell of the page's sweep file."""
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    expansion = expand(load_sweep(tmp_path / "sweep.yaml"))
    assert expansion.excluded == ()
    assert expansion.environments == {"parrot 1.0": str(tmp_path / "parrot-environment")}
    (cell,) = expansion.cells
    return cell


def test_its_arguments_are_checked_and_put_in_order(parrot, cell):
    facts = StartFacts("/models/m", 4321, slots=1, context_tokens=64)
    command = parrot.command(cell.deployment, facts)
    assert command.argv == (
        *("-m", "parrot", "--host", "127.0.0.1", "--port", "4321", "--model", "/models/m"),
        *("--slots", "1"),
    )
    cell.deployment.engine.args["slots"] = 3
    with pytest.raises(BadInput, match="concurrency axis"):
        parrot.command(cell.deployment, facts)


def test_it_is_started_read_loaded_and_ended(parrot, cell, tmp_path):
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "parrot.py").write_text(PROGRAM)
    facts = StartFacts("/models/m", free_port(), slots=2, context_tokens=64)
    variables = {"PYTHONPATH": str(tmp_path / "program")}
    host = EngineHost.start(parrot, cell.deployment, facts, Path(sys.executable), tmp_path, variables, lambda _: None)
    try:
        assert host.record.reported == {"version": "1.0", "slots": 2}
        assert parrot.mismatches(cell.deployment, host.record.reported) == []
        assert len(parrot.mismatches(cell.deployment, {"version": "2.0"})) == 1
        result = Conductor.start(load_job(parrot, cell, host.base_url, tmp_path / "spool")).result(lambda _: None)
        assert isinstance(result, Done)
        requests = [r for s in result.segments for r in read_segment(Path(s)).to_pylist()]
        assert len(requests) > 10
        assert {(r["status"], r["input_tokens"], r["output_tokens"]) for r in requests} == {("ok", 16, 8)}
        state = parrot.engine_state(summed(host.metrics()))
        assert state["generation_tokens_total"] == 8 * len(requests)
    finally:
        host.stop()
    assert not host.process.alive


def load_job(engine, cell, url, spool):
    return ClientJob(
        trial="t",
        node="n",
        clock=NodeClock.of_this_node(),
        url=url,
        model="model",
        spool=str(spool),
        workload=cell.workload,
        vocab_size=1000,
        prompt_seed=1,
        warmup_s=0.2,
        window_s=1.0,
        body=engine.api.body,
        fixed_length=engine.api.fixed_length,
        reuse_connections=engine.api.reuse_connections,
        processes=1,
    )
