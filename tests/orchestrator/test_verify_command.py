"""joulemark verify as a user runs it."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from joulemark.agents import observer
from joulemark.agents.machine import VARIABLE, Machine
from joulemark.agents.meters import discover
from joulemark.agents.meters.cpu_model import CpuModelMeter
from joulemark.agents.meters.cpu_watts import CpuWatts
from joulemark.agents.meters.meter import Channel
from joulemark.agents.observer import Effect, Observed
from joulemark.orchestrator.cli import cli
from joulemark.warehouse.errors import BadInput, ThresholdMissed
from joulemark.warehouse.verify import run
from joulemark.warehouse.verify.case import same


@pytest.fixture
def few(monkeypatch):
    """Two cases in place of all, the second wrong where asked."""

    def use(got):
        monkeypatch.setattr(run, "FAMILIES", (lambda: iter([same("a", "one", 1, 1), same("b", "two", 2, got)]),))

    monkeypatch.delenv("JOULEMARK_REFERENCE", raising=False)
    return use


def test_it_stands_last_in_the_order_of_work():
    assert list(cli.commands)[-1] == "verify"


def test_all_right(few):
    few(2)
    result = CliRunner().invoke(cli, ["verify"])
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "ok       a: one: expected 1, got 1",
        "ok       b: two: expected 2, got 2",
        "2 known answers, all right",
    ]


def test_one_wrong_is_exit_code_3(few):
    few(7)
    result = CliRunner().invoke(cli, ["verify"])
    assert isinstance(result.exception, ThresholdMissed)
    assert result.exception.exit_code == 3
    assert "1 of 2 known answers came out wrong" in str(result.exception)
    assert "WRONG    b: two: expected 2, got 7" in result.output


def test_the_observer_is_skipped_beside_another_measurement(few, monkeypatch):
    few(2)
    monkeypatch.setenv(VARIABLE, f"{os.getpid()}-observer")
    monkeypatch.setattr(observer, "observe", lambda *_: pytest.fail("observed beside another"))
    other = Machine()
    other.claim(pytest.fail)
    try:
        result = CliRunner().invoke(cli, ["verify", "--observer"])
    finally:
        other.release()
    assert result.exit_code == 0
    assert "skipped  observer: idle power" in result.output
    assert f"(process {os.getpid()}), which measures on this machine; measure again when it has ended" in result.output


def test_the_observer_is_skipped_where_nothing_counts_energy(few, monkeypatch):
    few(2)
    monkeypatch.setattr(discover, "discover", lambda: ([CpuModelMeter(CpuWatts(1.0, 2.0, 2, "test"))], []))
    result = CliRunner().invoke(cli, ["verify", "--observer"])
    assert result.exit_code == 0
    assert "skipped  observer: idle power" in result.output
    assert "no meter of this machine counts energy" in result.output
    assert result.output.endswith("2 known answers, all right, 1 skipped\n")


def test_an_observer_that_costs_more_than_it_may_is_wrong(few, monkeypatch):
    few(2)
    found = Observed((Effect(Channel("package-0", "cpu_package", "counter"), 50.0, 51.0, 0.2),), 0.01)
    monkeypatch.setattr(observer, "observe", lambda *_: found)
    result = CliRunner().invoke(cli, ["verify", "--observer"])
    assert isinstance(result.exception, ThresholdMissed)
    assert "WRONG    observer: package-0 cpu_package" in result.output
    assert "+1 W, +- 0.2 W" in result.output


def test_json(few):
    few(7)
    result = CliRunner().invoke(cli, ["verify", "--json"])
    assert isinstance(result.exception, ThresholdMissed)
    assert [(r["name"], r["verdict"]) for r in json.loads(result.output)] == [("one", "ok"), ("two", "WRONG")]


def test_a_folder_that_is_not_there(few, tmp_path):
    few(2)
    for arguments, environment in (
        (["--reference", str(tmp_path / "x")], {}),
        ([], {"JOULEMARK_REFERENCE": str(tmp_path / "x")}),
    ):
        result = CliRunner().invoke(cli, ["verify", *arguments], env=environment)
        assert isinstance(result.exception, BadInput)
        assert "there is no folder" in str(result.exception)
