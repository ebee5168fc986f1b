"""The page on the data is made from the code, and what it tells users to type works."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from joulemark.warehouse.describe import MANIFEST_FIELDS, SITE_FIELDS, data_page
from joulemark.warehouse.examples import EXAMPLES
from joulemark.warehouse.query.sites import Site
from joulemark.warehouse.query.tables import MANIFESTS, SITES
from joulemark.warehouse.schema.trial import TrialManifest

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def test_the_page_is_what_the_code_says():
    assert PAGE.read_text(encoding="utf-8") == data_page(), "run: python -m joulemark.warehouse.describe > docs/data.md"


def test_every_field_has_a_meaning():
    assert list(MANIFEST_FIELDS) == [f.name for f in fields(TrialManifest)]
    assert list(SITE_FIELDS) == [f.name for f in fields(Site)]
    assert [n for n in MANIFEST_FIELDS if n != "schema_version"] == MANIFESTS.names
    assert ["sweep", *SITE_FIELDS] == SITES.names


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.question[:40])
def test_examples_run(shared, example):
    assert shared.connection.sql(example.sql).num_rows > 0
    assert example.sql in PAGE.read_text(encoding="utf-8")


def test_energy_by_hand_is_the_view_s(shared):
    (example,) = (e for e in EXAMPLES if "energy_by_hand_j" in e.sql)
    rows = shared.connection.sql(example.sql).to_pylist()
    assert len(rows) == len(shared.truths) + 1
    for row in rows:
        assert row["energy_by_hand_j"] == pytest.approx(row["energy_j"], rel=1e-6)
