"""Every block of docs/meters.md is read, and the page names everything that there is."""

import dataclasses
import re
from pathlib import Path

import pytest

from joulemark.agents.meters.prometheus.mapping import METRIC_KEYS, SEVERAL, TOP_KEYS, mapping_of, parse_mapping
from joulemark.agents.meters.prometheus.refresh import UPDATES_PER_WINDOW
from joulemark.workloads.meters import EXPORTERS, KEYS
from joulemark.workloads.site import parse_site

PAGE = (Path(__file__).parents[3] / "docs" / "meters.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_block_is_read(number):
    block = BLOCKS[number]
    if "currency:" not in block:
        assert parse_mapping(block, "docs/meters.md").metrics
        return
    meters = parse_site(block, "docs/meters.md").meters
    assert meters
    for meter in meters:
        mapping = mapping_of(meter)
        assert mapping.metrics
        assert {m.metric for m in mapping.metrics} >= set(meter.metric)
        assert mapping.slow


def test_the_page_names_everything():
    assert len(BLOCKS) >= 6
    words = {*KEYS, *EXPORTERS, *METRIC_KEYS, *SEVERAL, "join"}
    assert [word for word in sorted(words) if f"`{word}`" not in PAGE] == []
    assert [key for key in TOP_KEYS if key not in PAGE] == []
    assert UPDATES_PER_WINDOW == 5
    assert "a window needs five changes" in PAGE


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_what_a_mapping_takes_is_on_the_page(exporter):
    (source,) = parse_site(
        "schema: 1\nname: x\ncurrency: EUR\nmeters: [{exporter: ipmi, url: 'http://x/'}]\n", "site.yaml"
    ).meters
    mapping = mapping_of(dataclasses.replace(source, exporter=exporter))
    table = PAGE.split("## What the mappings take")[1].split("\n## ")[0]
    said, name = set(), ""
    for _, first, scopes, *_ in (line.split("|") for line in table.split("\n") if line.startswith("|")):
        name = first.strip() or name
        if name == f"`{exporter}`":
            said |= set(re.findall(r"`(\w+)`", scopes))
    assert said == {m.scope for m in mapping.metrics}
