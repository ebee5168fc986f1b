"""One anchor per node and boot, shared by all processes."""

import json
import subprocess
import sys
import time

from joulemark.agents.clock import NodeClock


def test_all_processes_share_the_first_anchor(tmp_path):
    code = (
        "import json,sys,dataclasses,pathlib;from joulemark.agents.clock import NodeClock;"
        "print(json.dumps(dataclasses.asdict(NodeClock.of_this_node(pathlib.Path(sys.argv[1])))))"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) for _ in range(4)]
    anchors = {json.dumps(json.loads(p.communicate()[0])) for p in started}
    assert len(anchors) == 1
    assert NodeClock.of_this_node(tmp_path) == NodeClock(**json.loads(anchors.pop()))
    assert [p.suffix for p in (tmp_path / "clock").iterdir()] == [".json"]


def test_instants_follow_the_monotonic_clock(tmp_path):
    clock = NodeClock.of_this_node(tmp_path)
    now_ns = time.monotonic_ns()
    assert clock.at_us(now_ns + 1_500_000) - clock.at_us(now_ns) == 1500
    assert abs(clock.now_us() - time.time_ns() // 1000) < 5_000_000
    assert abs(clock.monotonic_s(clock.at_us(now_ns)) - now_ns / 1e9) < 2e-6


def test_a_wall_clock_step_does_not_move_instants(tmp_path, monkeypatch):
    clock = NodeClock.of_this_node(tmp_path)
    before_us = clock.now_us()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert NodeClock.of_this_node(tmp_path).now_us() >= before_us
