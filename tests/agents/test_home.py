"""Where a node keeps what joulemark makes for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemark.agents.home import joulemark_home


def test_the_variable_wins_over_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOULEMARK_HOME", str(tmp_path / "chosen"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert joulemark_home() == tmp_path / "chosen"
    monkeypatch.delenv("JOULEMARK_HOME")
    assert joulemark_home() == tmp_path / "cache" / "joulemark"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert joulemark_home() == tmp_path / ".cache" / "joulemark"
