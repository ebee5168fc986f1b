"""joulemark verify as a user runs it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

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
