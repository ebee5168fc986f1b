"""The command: what it prints, its exit codes, one line for what goes wrong."""

from __future__ import annotations

import json

import pytest

from joulemark.orchestrator import cli
from joulemark.warehouse.site import assets as assets_module


def run(monkeypatch, capsys, *arguments):
    """Run the command line; return exit code, stdout, stderr."""
    monkeypatch.setattr("sys.argv", ["joulemark", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out = capsys.readouterr()
    return ended.value.code or 0, out.out, out.err


@pytest.fixture
def without_scripts(monkeypatch, no_assets):
    monkeypatch.setattr(assets_module, "assets", lambda _: no_assets)


def test_it_says_what_it_wrote(monkeypatch, capsys, warehouse, without_scripts, tmp_path):
    site = tmp_path / "site"
    code, out, err = run(monkeypatch, capsys, "publish", site, "-w", warehouse.root, "--title", "A <b> board")
    assert (code, err) == (0, "")
    assert "2 failed or invalid trials are listed and not ranked" in out
    assert str(site / "index.html") in out
    assert "<h1>A &lt;b&gt; board</h1>" in (site / "index.html").read_text()


def test_as_json(monkeypatch, capsys, warehouse, tmp_path):
    arguments = ("publish", tmp_path / "t", "-w", warehouse.root, "--format", "csv", "--json")
    code, out, _ = run(monkeypatch, capsys, *arguments)
    assert code == 0
    assert json.loads(out) == {"folder": str(tmp_path / "t"), "rows": 14, "trials": 48, "left_out": 2, "files": 2}


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("-w", "/nowhere/at/all"), "there is no warehouse", 2),
        (("--previous", "/nowhere"), "holds no publication", 2),
        (("--format", "xlsx"), "xlsx", 2),
    ],
)
def test_what_is_wrong_is_one_line(monkeypatch, capsys, warehouse, without_scripts, tmp_path, arguments, said, code):
    given = arguments if "-w" in arguments else ("-w", warehouse.root, *arguments)
    found, out, err = run(monkeypatch, capsys, "publish", tmp_path / "site", *given)
    assert (found, out) == (code, "")
    assert said in err
    assert "Traceback" not in err


def test_a_target_that_is_not_ours(monkeypatch, capsys, warehouse, without_scripts, tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    code, _, err = run(monkeypatch, capsys, "publish", tmp_path, "-w", warehouse.root)
    assert code == 2
    assert "did not publish" in err
    (tmp_path / "file").write_text("x")
    code, _, err = run(monkeypatch, capsys, "publish", tmp_path / "file", "-w", warehouse.root)
    assert code == 2
    assert "is a file" in err


def test_a_target_that_cannot_be_written(monkeypatch, capsys, warehouse, without_scripts):
    code, _, err = run(monkeypatch, capsys, "publish", "/proc/site", "-w", warehouse.root)
    assert code == 2
    assert err.startswith("joulemark: cannot write /proc/site/")
