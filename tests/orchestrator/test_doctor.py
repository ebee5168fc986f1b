"""What `joulemark doctor` says of nodes: what they have, what is missing and the command that fixes it."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))

from places import node

from joulemark import __version__
from joulemark.agents.checkup import Checkup, Finding
from joulemark.agents.clock_kept import ClockKept
from joulemark.agents.clock_offset import Offset
from joulemark.orchestrator.cli import cli
from joulemark.orchestrator.doctor import lines, record, unreachable, view

NVML = {"scopes": ["gpu_board"], "fidelities": ["counter"], "update_period_s": 0.1}
FINE = Checkup(
    node="g1",
    cpu="CPU",
    logical_cpus=64,
    memory_bytes=512 << 30,
    disk_free_bytes=100 << 30,
    gpus={f"GPU-{i}": "NVIDIA H100 80GB HBM3" for i in range(8)},
    driver="580.1",
    meters={"nvml": NVML},
    engines={"vllm-0.33.0": True, "sglang-0.5.23": False},
    gpu_users={},
    clock=ClockKept(kept=True, error_us=900),
    versions={"joulemark": __version__},
    findings=(),
)
NEAR = Offset(0, 400, 250)


def said(seen):
    return "\n".join(lines([seen]))


def test_a_node_that_has_everything_is_told_in_a_few_lines():
    seen = view(node("g1", 8), FINE, NEAR, [("rack", "r1"), ("ray.io/node-id", "abc")])
    assert seen.findings == ()
    text = said(seen)
    assert "g1: 8 x H100, 64 x CPU, 512 GiB" in text
    assert "labels: rack=r1\n" in text
    assert "meter nvml: gpu_board (counter), new every 100 ms" in text
    assert "engines: vllm-0.33.0; made when first used: sglang-0.5.23" in text
    assert "clock: -0.4 ms, known to 0.25 ms, kept by a time server" in text
    assert text.endswith("1 node(s) (1 x H100), 8 GPUs; 1 can measure")


@pytest.mark.parametrize(
    ("seen", "what", "fix", "healthy"),
    [
        (view(node("n", 4), FINE, NEAR), "Ray was started with 4 GPUs, and the driver shows 8", "--num-gpus=8", True),
        (view(node("n", 8), replace(FINE, gpus={}), NEAR), "no driver shows any", "nvidia-smi", True),
        (view(node("n", 9), FINE, NEAR), "with 9 GPUs, and the driver shows 8", "--num-gpus=8", False),
        (view(replace(node("n", 8), accelerator=None), FINE, NEAR), "have no label", "accelerator-type=H100", False),
        (view(node("n", 8), FINE, Offset(0, -3_000_000, 90)), "its clock is +3.0 s off", "set-ntp true", True),
        (view(node("n", 8), FINE, Offset(0, 0, 50_000)), "known to 50 ms only", "nearer to the nodes", True),
        (view(node("n", 8), replace(FINE, versions={}), NEAR), "it has joulemark None", "pip install joulemark", False),
        (unreachable(node("n", 8), "No module named 'joulemark'"), "No module named", "pip install joulemark", False),
    ],
)
def test_what_is_missing_comes_with_what_fixes_it(seen, what, fix, healthy):
    (finding,) = seen.findings
    assert what in finding.what
    assert fix in finding.fix
    assert seen.healthy is healthy
    word = "better" if healthy else "MISSING"
    assert f"  {word}: {finding.what}\n    {finding.fix}\n" in said(seen)
    assert record(seen)["findings"] == [{"what": finding.what, "fix": finding.fix, "needed": not healthy}]


@pytest.mark.parametrize(("needed", "code"), [(False, 0), (True, 3)])
def test_the_exit_code_says_whether_every_node_can_measure(monkeypatch, needed, code):
    seen = view(node("n"), replace(FINE, findings=(Finding("no room", "make some", needed),)))
    monkeypatch.setattr(sys.modules[cli.commands["doctor"].callback.__module__], "_here", lambda: seen)
    done = CliRunner().invoke(cli, ["doctor", "--json"])
    assert done.exit_code == code
    (told,) = json.loads(done.stdout)["nodes"]
    assert (told["healthy"], told["checkup"]["logical_cpus"]) == (not needed, 64)


def test_this_machine_is_looked_at_for_real(tmp_path, monkeypatch):
    monkeypatch.setenv("JOULEMARK_HOME", str(tmp_path / "not" / "there"))
    done = CliRunner().invoke(cli, ["doctor", "--json"], catch_exceptions=False)
    (told,) = json.loads(done.stdout)["nodes"]
    checkup = told["checkup"]
    assert checkup["meters"]
    assert checkup["logical_cpus"] >= 1
    assert all(m["read_us"] > 0 for m in checkup["meters"].values())
    assert set(checkup["engines"].values()) == {False}
    assert not (tmp_path / "not").exists(), "nothing is made"
    assert done.exit_code == (0 if told["healthy"] else 3)


# Ray's word for a raylet that ends at once is an Exception and no more.
@pytest.mark.parametrize("kind", [ConnectionError, Exception])
def test_a_cluster_that_does_not_answer_is_bad_input(kind, monkeypatch):
    from joulemark.orchestrator import ray_session
    from joulemark.warehouse.errors import ClusterError

    def refuses(*_, **__):
        raise kind("nobody there")

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setattr(ray_session.ray, "init", refuses)
    with pytest.raises(ClusterError, match="cannot reach the cluster at x:1: nobody there") as caught:
        CliRunner().invoke(cli, ["doctor", "--cluster", "x:1"], catch_exceptions=False)
    assert caught.value.exit_code == 2
