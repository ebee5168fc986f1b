"""One cluster of four hosts for all tests of a session; each test leaves it whole."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from hosts import why_not
from ray_hosts import Cluster


@pytest.fixture(scope="session")
def cache():
    given = os.environ.get("JOULEMARK_TEST_HOME")
    return Path(given) if given else Path.home() / ".cache" / "joulemark-tests"


@pytest.fixture(scope="session")
def cluster(cache):
    reason = why_not()
    if reason:
        pytest.skip(reason)
    made = Cluster(4, cache)
    try:
        made.up()
        yield made
    finally:
        made.close()
