"""The embedded default engine, really installed into the user's cache."""

from __future__ import annotations

import pytest

from joulemark.agents.environments import ensure_environment, installed_versions
from joulemark.agents.home import joulemark_home


@pytest.mark.engine
def test_llamacpp_is_installed_once_and_reused() -> None:
    said: list[str] = []
    interpreter = ensure_environment("llamacpp-2026.10.11549", joulemark_home(), said.append)
    assert installed_versions(interpreter, ["xllamacpp"])["xllamacpp"] == "2026.10.11549"
    said.clear()
    assert ensure_environment("llamacpp-2026.10.11549", joulemark_home(), said.append) == interpreter
    assert said == []
