"""What the sampler's tests share: a home of their own, and the module that kills."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """Every process of a test takes its clock from here."""
    monkeypatch.setenv("JOULEMARK_HOME", str(tmp_path_factory.mktemp("home")))
