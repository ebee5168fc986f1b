"""One cluster of four hosts for all tests of a session; each test leaves it whole."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from hosts import why_not
from ray_hosts import Cluster

from joulemark.agents.environments import ensure_environment
from joulemark.workloads.engines.catalogue import default_version, environment_set


@pytest.fixture(scope="session")
def cache():
    given = os.environ.get("JOULEMARK_TEST_HOME")
    return Path(given) if given else Path.home() / ".cache" / "joulemark-tests"


@pytest.fixture(scope="session")
def cluster(cache):
    reason = why_not()
    if reason:
        pytest.skip(reason)
    # The hosts' network has no way out to install anything by.
    version = default_version("llamacpp", on_cpu=True)
    ensure_environment(environment_set("llamacpp", version, on_cpu=True), cache, print)
    made = Cluster(4, cache)
    try:
        made.up()
        yield made
    finally:
        made.close()
