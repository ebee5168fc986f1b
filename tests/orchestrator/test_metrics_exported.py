"""A real Ray shows every metric of the table on its page, under the name and with the tags that the table says."""

import re
import sys
import time
import urllib.request
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from ray_page import real_ray

from joulemark.orchestrator.metrics import METRICS

SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def port():
    with real_ray() as chosen:
        yield chosen


@pytest.fixture(scope="module")
def history(port):
    """Return the pages one after the other, {name: [(labels, value)]}, until all is there and what ended is gone."""
    pages, deadline = [{}], time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and not (
        {m.exported for m in METRICS} <= pages[-1].keys()
        and "fading" in {node for page in pages for node in powered(page)} - powered(pages[-1])
    ):
        time.sleep(0.5)
        pages.append(read(port))
    return pages


@pytest.fixture
def samples(history):
    return history[-1]


def powered(page):
    return {labels["node"] for labels, _ in page.get("ray_joulemark_node_power_watts", ())}


def read(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            text = page.read().decode()
    except OSError:
        return {}
    found = {}
    for name, labels, value in SAMPLE.findall(text):
        found.setdefault(name, []).append((dict(LABEL.findall(labels)), float(value)))
    return found


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_it_is_exported_with_its_tags(samples, metric):
    assert metric.exported in samples
    for labels, _ in samples[metric.exported]:
        assert set(metric.tags) <= labels.keys()
        assert all(labels[tag] for tag in metric.tags)


def test_values_arrive_as_they_were(samples):
    def value(name, **tags):
        (found,) = (v for labels, v in samples[f"ray_joulemark_{name}"] if tags.items() <= labels.items())
        return found

    assert value("node_power_watts", node="bright") == 200.0
    assert value("node_output_token_joules", node="bright") == 5.0
    assert value("sweep_attempts", verdict="valid") == 3
    assert value("sweep_nodes", state="idle") == 1
    assert value("sweep_nodes", state="lost") == 0
    assert value("sweep_failures_total", failure_class="out_of_memory") == 1
    assert value("node_sampler_restarts", node="dark") == 0


def test_a_reading_that_is_missing_is_no_series(samples):
    assert "dark" not in powered(samples)
    assert "dark" in {labels["node"] for labels, _ in samples["ray_joulemark_node_sampler_restarts"]}


def test_a_reading_that_goes_missing_ends_its_series(history):
    assert "fading" in {node for page in history for node in powered(page)}
    assert powered(history[-1]) == {"bright"}
