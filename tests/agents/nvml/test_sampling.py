"""Sampler and agent, unmodified, on eight devices of the double."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from nvml_double import Device, devices
from truth import Bursts, Constant, Square

from joulemark.agents import lane as lane_module
from joulemark.agents.agent import NodeAgent
from joulemark.agents.client.job import Broken
from joulemark.agents.clock import NodeClock
from joulemark.agents.home import joulemark_home
from joulemark.agents.orders import AgentConfig, Loaded, StartOrder, TrialOrder, TrialResult
from joulemark.agents.sampler.process import SamplerProcess
from joulemark.agents.sampler.protocol import SamplerConfig
from joulemark.agents.spool.segment import read_segment
from joulemark.warehouse.build.energy import counter_energy
from joulemark.warehouse.errors import EngineError
from joulemark.warehouse.schema.trial import EngineRecord
from joulemark.workloads.cell import Cell, Deployment, EngineRef, ModelRef, Parallel, WindowPolicy, Workload

PERIOD_S = 0.03
LOAD = Square(100.0, 400.0, 0.7)
PEAK_W = 400.0
EIGHT = devices(8, LOAD)


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Processes that this test starts see the GPUs of a world."""

    def set_up(double):
        monkeypatch.setenv("JOULEMARK_HOME", str(tmp_path / "home"))
        for name, value in double.environment.items():
            monkeypatch.setenv(name, value)
        return double

    return set_up


@pytest.fixture
def sampler(tmp_path, environment):
    """Start a sampler on a world; it ends with the test."""
    started = []

    def start(double):
        environment(double)
        process = SamplerProcess(SamplerConfig("n1", str(tmp_path / "spool"), PERIOD_S))
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop()


def rows(segment, **wanted):
    table = read_segment(segment).sort_by("t")
    for column, value in wanted.items():
        table = table.filter(pc.equal(table[column], value))
    return table


def micros(column):
    return column.cast("int64").to_numpy()


def test_eight_devices_are_counted_as_truly_as_their_steps_allow(world, sampler):
    double = world(*EIGHT)
    process = sampler(double)
    clock = NodeClock.of_this_node()
    assert list(process.meters["nvml"]["boards"]) == list(double.uuids)
    time.sleep(2.5)
    power, rounds, state = process.rotate()
    assert [s.name.split("-")[0] for s in (power, rounds, state)] == ["power", "rounds", "device_state"]
    for number, uuid in enumerate(double.uuids):
        mine = rows(power, device=uuid, scope="gpu_board")
        assert set(mine["fidelity"].to_pylist()) == {"counter"}
        assert mine["reason"].null_count == mine.num_rows
        t_us = micros(mine["t"])
        start_us, end_us = int(t_us[0]) + 300_000, int(t_us[-1]) - 300_000
        estimate = counter_energy(t_us, mine["energy_uj"].to_numpy(), start_us, end_us)
        monotonic_ns = [round(clock.monotonic_s(e) * 1e9) for e in (start_us, end_us)]
        true_j = double.true_energy_j(number, *monotonic_ns)
        # At worst a step of the counter is seen one reading late, and edges lie anywhere in a step of power.
        assert estimate.energy_j == pytest.approx(true_j, abs=PEAK_W * 0.1 * 1.5)
        states = rows(state, device=uuid)
        assert states.num_rows >= 2
        assert set(states["power_limit_mw"].to_pylist()) == {700_000}


def test_the_watts_that_are_shown_count_nothing_twice(world, sampler):
    superchip = Device(Constant(300.0), module_w=100.0, counter_of_module=1, memory_share=0.3)
    process = sampler(world(superchip, Device(Constant(200.0), memory_share=0.2)))
    assert set(process.meters) == {"nvml", "nvml-average"}
    deadline = time.monotonic() + 20
    while process.watts is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.watts == pytest.approx(500.0)


def test_a_device_that_vanishes_leaves_null_rows_and_the_others_their_values(world, sampler):
    double = world(Device(Constant(250.0)), Device(Constant(250.0), lost_s=((51.5, 52.2),)), age_s=50)
    process = sampler(double)
    while double.now_s() < 55.0:
        time.sleep(0.05)
    power, *_ = process.rotate()
    whole, gap = (rows(power, device=u) for u in double.uuids)
    assert whole["power_mw"].null_count == 0
    missing = gap.filter(pc.is_null(gap["power_mw"]))
    assert set(missing["reason"].to_pylist()) == {"nvml: GPU is lost"}
    assert missing["energy_uj"].null_count == missing.num_rows > 0
    assert gap["power_mw"].to_pylist()[-1] == 250_000
    assert gap.num_rows == whole.num_rows


RECORD = EngineRecord("vllm", "0.33.0", "s", (), {}, {}, 0.1, "logs/s.log", requirement_set="vllm-0.33.0")


def deployment(limit_w=None):
    return Deployment(
        ModelRef("tiny", "generated", "tiny"),
        "bf16",
        "bf16",
        EngineRef("vllm", "0.33.0", {}),
        "H100",
        Parallel(tensor=2),
        limit_w,
    )


@pytest.fixture
def agent(tmp_path, environment, monkeypatch):
    """Start an agent whose engine is a sleeping process."""
    started, engines = [], []

    def engine(self, order, interpreter, model_path):
        process = subprocess.Popen([sys.executable, "-c", "import time;time.sleep(120)"], start_new_session=True)
        engines.append(process)
        named = SimpleNamespace(name="vllm", api=None)
        facts = SimpleNamespace(served_name="tiny", api_key=None)
        return SimpleNamespace(
            process=process, engine=named, facts=facts, base_url="http://x", record=RECORD, stop=process.kill
        )

    def start(double, run=engine):
        environment(double)
        monkeypatch.setattr(lane_module.Lane, "_prepare", lambda self, deployment: (None, ""))
        monkeypatch.setattr(lane_module.Lane, "_start", run)
        agent = NodeAgent(AgentConfig("n1", str(tmp_path / "warehouse"), sample_period_s=PERIOD_S))
        started.append(agent)
        return agent

    yield start
    for one in started:
        one.close()
    for process in engines:
        process.kill()
        process.wait()


@pytest.fixture
def no_load(monkeypatch):
    """Have trials that send nothing and end well, with these reasons against them."""

    def use(*reasons):
        def run(order, *_):
            end = lambda loaded, part, seal: TrialResult("done", reasons, part, 0, 1)  # noqa: E731 -- one expression
            return SimpleNamespace(order=order, interrupted=False, begin=lambda: None, end=end)

        monkeypatch.setattr(lane_module, "TrialRun", run)
        loaded = Loaded(Broken("nothing was sent"), ())
        monkeypatch.setattr(lane_module, "Load", lambda *_: SimpleNamespace(run=lambda: loaded))

    return use


def order(*devices, limit_w=None):
    return StartOrder(deployment(limit_w), 1, 128, devices, idle_s=1.2)


def test_an_agent_sets_the_limit_for_its_engine_alone_and_seals_both_traces(world, agent, tmp_path):
    double = world(*EIGHT)
    with double.in_this_process():
        node = agent(double)
        result = node.start_engine(order("1", "2", limit_w=300))
        assert (result.engine, result.devices) == (RECORD, double.uuids[1:3])
        assert double.limits_mw() == (0, 300_000, 300_000, 0, 0, 0, 0, 0)
        time.sleep(1.2)
        traces = {t.dataset: t for t in node.power.seal()}
        node.stop_engine()
        assert set(double.limits_mw()) == {0, 700_000}
        assert set(traces) == {"power", "rounds", "device_state"}
        warehouse = node.outbox.files
        states = pq.read_table(warehouse.path(traces["device_state"].path))
        limited = states.filter(pc.equal(states["power_limit_mw"], 300_000))
        assert set(limited["device"].to_pylist()) == set(double.uuids[1:3])
        assert states.num_rows == traces["device_state"].rows
        assert pq.read_table(warehouse.path(traces["power"].path)).num_rows == traces["power"].rows


def test_a_trial_on_mig_instances_is_the_whole_boards_and_says_so(world, agent, no_load):
    no_load("not_steady")
    cell = Cell(deployment(), Workload(8, 8, 1), WindowPolicy(1.0, 1.0))
    wanted = TrialOrder("t", cell, 1000, 1)
    double = world(Device(mig=2), Device())
    node = agent(double)
    first = double.uuids[0]
    result = node.start_engine(order(f"MIG-0-{first}", f"MIG-1-{first}"))
    assert result.devices == (first,)
    trial = node.run_trial(wanted)
    assert trial.part.devices == (first,)
    assert trial.reasons == ("not_steady", "mig_shared")
    node.stop_engine()
    node.start_engine(order("1"))
    assert node.run_trial(wanted).reasons == ("not_steady",)


@pytest.mark.parametrize(
    ("device", "said"),
    [(Device(may_set_limit=0), "this user may not set it"), (Device(limits_w=(100.0, 200.0, 250.0)), "100 to 250 W")],
)
def test_a_limit_that_cannot_be_is_unsupported_in_one_line(world, agent, device, said):
    double = world(device)
    with double.in_this_process():
        result = agent(double).start_engine(order("0", limit_w=300))
    assert (result.engine, result.failure_class) == (None, "unsupported")
    assert said in result.error
    assert "\n" not in result.error
    assert double.limits_mw() == (0,)


def test_an_engine_that_does_not_start_leaves_no_limit(world, agent):
    def fails(self, order, interpreter, model_path):
        raise EngineError("out of memory", "out_of_memory")

    double = world(Device())
    with double.in_this_process():
        result = agent(double, run=fails).start_engine(order("0", limit_w=300))
    assert result.failure_class == "out_of_memory"
    assert double.limits_mw() == (700_000,)


def test_lanes_have_engines_and_limits_of_their_own_and_their_traces_hold_all_of_their_time(world, agent):
    double = world(*EIGHT)
    with double.in_this_process():
        node = agent(double)
        for lane, devices in enumerate((("0", "1"), ("2", "3"))):
            started = node.start_engine(replace(order(*devices, limit_w=300 + 100 * lane), lane=lane, shared=True))
            assert started.devices == double.uuids[2 * lane : 2 * lane + 2]
        assert double.limits_mw()[:5] == (300_000, 300_000, 400_000, 400_000, 0)
        assert len(node.power.sampler.pids) == 2
        since_us = node.clock.now_us()
        first = [t for t in node.power.seal(since_us) if t.dataset == "power"]
        second = [t for t in node.power.seal(since_us) if t.dataset == "power"]
        assert {t.path for t in first} < {t.path for t in second}, "what was sealed for another lane is this one's too"
        assert [lane.doing for lane in node.progress().lanes] == ["measuring idle power of vllm"] * 2
        node.stop_engine(0)
        assert double.limits_mw()[:4] == (700_000, 700_000, 400_000, 400_000)
        assert len(node.power.sampler.pids) == 1
        node.stop_engine(1)
        assert set(double.limits_mw()) == {0, 700_000}


def test_a_trial_beside_other_engines_says_so(world, agent, no_load):
    no_load()
    node = agent(world(*EIGHT))
    cell = Cell(deployment(), Workload(8, 8, 1), WindowPolicy(1.0, 1.0))
    reasons = []
    for lane, shared in ((0, True), (1, False)):
        node.start_engine(replace(order(str(lane)), lane=lane, shared=shared))
        reasons.append(node.run_trial(TrialOrder("t", cell, 1000, 1, lane=lane)).reasons)
        node.stop_engine(lane)
    assert reasons == [("node_shared",), ()]


KILLED = """
import sys, time
from joulemark.agents.agent import NodeAgent
from joulemark.agents.orders import AgentConfig
agent = NodeAgent(AgentConfig("n1", sys.argv[1], sample_period_s=0.03))
agent.limits.set(tuple(sys.argv[2:]), 300)
print("limited", flush=True)
time.sleep(120)
"""


def test_an_agent_that_starts_after_a_kill_9_puts_the_limits_back(world, agent, environment, tmp_path):
    double = environment(world(*EIGHT))
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "warehouse"), *double.uuids[:2]], stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"limited\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert double.limits_mw()[:2] == (300_000, 300_000)
    assert len(list((joulemark_home() / "nodes" / "n1" / "limits").glob("*.json"))) == 2
    with double.in_this_process():
        node = agent(double)
        assert double.limits_mw()[:2] == (700_000, 700_000)
        assert not list((joulemark_home() / "nodes" / "n1" / "limits").glob("*.json"))
        assert node.describe().warnings == ()


def test_a_burst_between_two_readings_is_in_the_counter(world, sampler):
    """A load that instant power hardly sees: the counter has it all the same."""
    double = world(Device(Bursts(100.0, 700.0, 0.5, 0.05)))
    process = sampler(double)
    time.sleep(3.0)
    power, *_ = process.rotate()
    clock = NodeClock.of_this_node()
    mine = rows(power, scope="gpu_board")
    t_us = micros(mine["t"])
    first, last = (round(clock.monotonic_s(int(t)) * 1e9) for t in (t_us[0], t_us[-1]))
    counted_j = (mine["energy_uj"][-1].as_py() - mine["energy_uj"][0].as_py()) / 1e6
    assert counted_j == pytest.approx(double.true_energy_j(0, first, last), abs=700 * 0.1 * 2)
