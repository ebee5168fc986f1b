"""Series are the same however their readings lie in files: sorted or not, in one file or several, twice, with gaps."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import EPOCH_US, Meter, S, Spec, power_table

from joulemark.warehouse.build.readings import PowerReader
from joulemark.warehouse.build.spans import read_spans
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import write_table

METERS = (
    Meter("nvml", "GPU-1", "gpu_board", "counter", poll_us=40_000, step_us=100_000),
    Meter("nvml", "GPU-2", "gpu_board", "counter", poll_us=40_000, step_us=100_000, power=False),
    Meter("rapl", "0", "cpu_package", "counter", poll_us=100_000, step_us=1_000, power=False),
    Meter("pdu", "server", "node_ac", "metered", poll_us=1_000_000, counter=False),
)
START_US, END_US = EPOCH_US + 12 * S, EPOCH_US + 25 * S


@pytest.fixture(scope="module")
def table():
    return pa.concat_tables([power_table(Spec(), m, "node-a", EPOCH_US) for m in METERS])


def shuffled(table):
    return table.take(np.random.default_rng(1).permutation(table.num_rows))


def in_files(warehouse, tables, **how):
    names = []
    for number, one in enumerate(tables):
        name = f"power/node-a/{number}.parquet"
        with warehouse.writing(name) as stream:
            pq.write_table(one, stream, **how)
        names.append(name)
    return PowerReader(warehouse, tuple(names))


LAYOUTS = {
    "as it is written": lambda t: [t],
    "in no order": lambda t: [shuffled(t)],
    "by time": lambda t: [t.sort_by("t")],
    "in three files": lambda t: [t.filter(np.arange(len(t)) % 3 == i) for i in range(3)],
    "twice": lambda t: [t, t.slice(0, len(t) // 2)],
    "halves of time, the later first": lambda t: [
        t.sort_by("t").slice(len(t) // 2),
        t.sort_by("t").slice(0, len(t) // 2),
    ],
    "a meter in each": lambda t: [t.filter(pa.compute.equal(t["meter"], m)) for m in ("nvml", "rapl", "pdu")],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rows", [100_000, 257])
def test_however_it_lies_it_reads_the_same(tmp_path, table, layout, rows):
    reader = in_files(Warehouse.at(tmp_path), LAYOUTS[layout](table), row_group_size=rows)
    found = reader.read("node-a", START_US, END_US)
    assert [(s.meter, s.device, s.scope, s.fidelity) for s in found] == [
        (m.name, m.device, m.scope, m.fidelity) for m in sorted(METERS, key=lambda m: (m.name, m.device))
    ]
    for series in found:
        mine = table.filter(pa.compute.equal(table["device"], series.device)).sort_by("t")
        assert series.t_us.tolist() == mine["t"].cast(pa.int64()).to_pylist()
        assert series.energy_uj.tolist() == mine["energy_uj"].fill_null(0).to_pylist()
        assert series.power_mw.tolist() == mine["power_mw"].fill_null(0).to_pylist()
        assert series.has_energy.tolist() == mine["energy_uj"].is_valid().to_pylist()
        assert series.has_power.tolist() == mine["power_mw"].is_valid().to_pylist()
    assert reader.warnings == []


def test_only_what_is_asked_for(tmp_path, table):
    reader = in_files(Warehouse.at(tmp_path), [table])
    (series,) = reader.read("node-a", START_US, END_US, devices=("GPU-1",), values=("energy_uj",))
    assert series.device == "GPU-1"
    assert series.has_energy.all()
    assert not series.has_power.any()
    assert reader.read("node-b", START_US, END_US) == []
    assert reader.read("node-a", END_US + 10**9, END_US + 2 * 10**9) == []


def test_an_empty_segment_is_no_series(tmp_path, table):
    assert in_files(Warehouse.at(tmp_path), [table.slice(0, 0)]).read("node-a", START_US, END_US) == []


def test_segments_that_are_too_many_to_hold_are_decoded_again(tmp_path, table, monkeypatch):
    monkeypatch.setattr("joulemark.warehouse.build.segments.HELD_BYTES", 0)
    reader = in_files(Warehouse.at(tmp_path), LAYOUTS["in three files"](table))
    before = [s.energy_uj.tolist() for s in reader.read("node-a", START_US, END_US)]
    assert [s.energy_uj.tolist() for s in reader.read("node-a", START_US, END_US)] == before
    assert len(reader._decoded._held) == 1


def request(trial, node, number, sent, **more):
    row = {c.name: None for c in DATASETS["requests"].columns}
    row |= {"trial": trial, "node": node, "request": number, "status": "ok", "untimed_tokens": 0, "chunk_dt_us": []}
    row |= {"scheduled_at": sent, "sent_at": sent, "ended_at": sent + 10, "asked_output_tokens": 1}
    return row | more


def test_spans_of_trials_that_lie_together_or_in_pieces(tmp_path):
    warehouse, dataset = Warehouse.at(tmp_path), DATASETS["requests"]
    rows = [
        request("a", "n2", 0, 100, last_token_at=105, first_token_at=102, output_tokens=7),
        request("a", "n1", 1, 200),
        request("a", "n1", 0, 300, last_token_at=304),
        request("b", "n1", 0, 400, last_token_at=401),
        request("c", "n1", 0, 500),
    ]
    pieces = rows[:2] + rows[3:], rows[2:3], []
    for number, piece in enumerate(pieces):
        write_table(warehouse, dataset, f"requests/{number}.parquet", pa.Table.from_pylist(piece, schema=dataset.arrow))
    found = read_spans(warehouse, warehouse.list("requests"), {"a", "b"})
    assert sorted(found) == ["a", "b"]
    on_1, on_2 = found["a"]
    assert (on_1.node, on_1.number.tolist(), on_1.sent_us.tolist(), on_1.done_us.tolist()) == (
        "n1",
        [0, 1],
        [300, 200],
        [304, 210],
    )
    assert (on_2.node, on_2.done_us.tolist()) == ("n2", [105])
    (told, _) = read_spans(warehouse, warehouse.list("requests"), {"a"}, tokens=True)["a"][::-1]
    assert (told.first_us.tolist(), told.tokens.tolist()) == ([102], [7])
