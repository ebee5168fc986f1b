"""Segments survive being cut anywhere; sealing deletes only what is safe in the warehouse."""

import os
import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from joulemark.agents.spool.seal import leftovers, seal
from joulemark.agents.spool.segment import SegmentWriter, read_segment
from joulemark.warehouse.errors import DiskFull, WarehouseError
from joulemark.warehouse.schema.traces import POWER
from joulemark.warehouse.store.location import Warehouse


def row(t_us, energy_uj=0):
    return {
        "node": "n",
        "meter": "m",
        "device": "d",
        "scope": "cpu_package",
        "fidelity": "counter",
        "t": t_us,
        "power_mw": None,
        "energy_uj": energy_uj,
        "reason": None,
    }


def write(folder, batches, rows_each):
    writer = SegmentWriter(POWER, folder, "power")
    for batch in range(batches):
        for number in range(rows_each):
            writer._rows.append(row(batch * rows_each + number))
        writer.flush()
    return writer.rotate()


def test_a_cut_segment_reads_up_to_its_last_whole_batch(tmp_path):
    whole = write(tmp_path, batches=5, rows_each=7).read_bytes()
    cut = tmp_path / "cut.open"
    counts = set()
    for end in range(0, len(whole) + 1, 3):
        cut.write_bytes(whole[:end])
        try:
            table = read_segment(cut)
        except ValueError:
            assert end < 2000, "only a cut inside the head may make a segment unreadable"
            continue
        assert table.num_rows % 7 == 0
        assert table["t"].cast("int64").to_pylist() == list(range(table.num_rows))
        counts.add(table.num_rows)
    assert counts == {0, 7, 14, 21, 28, 35}


def test_kill_9_loses_at_most_the_last_batch(tmp_path):
    code = f"""
import sys, time
sys.path.insert(0, {str(os.path.dirname(__file__))!r})
from joulemark.agents.spool.segment import SegmentWriter
from joulemark.warehouse.schema.traces import POWER
from pathlib import Path
from test_spool import row
writer = SegmentWriter(POWER, Path({str(tmp_path)!r}), "power")
number = 0
while True:
    writer.add(row(number)); print(number, flush=True); number += 1; time.sleep(0.01)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    for text in process.stdout:
        if int(text) >= 250:
            process.send_signal(signal.SIGKILL)
            break
    last = max([int(t) for t in process.stdout if t.endswith("\n")], default=250)
    process.wait()
    (left,) = leftovers(tmp_path)
    got = read_segment(left)["t"].cast("int64").to_pylist()
    assert got == list(range(len(got)))
    assert last - len(got) < 150, "more than a batch of one second was lost"


def test_seal_sorts_writes_and_only_then_deletes(tmp_path):
    writer = SegmentWriter(POWER, tmp_path / "spool", "power")
    for t in (3, 1, 2):
        writer._rows.append(row(t, energy_uj=t * 10))
    segment = writer.rotate()
    warehouse = Warehouse.at(tmp_path / "wh")
    trace = seal(warehouse, POWER, segment, "power/n/a.parquet")
    assert not segment.exists()
    table = pq.read_table(warehouse.path("power/n/a.parquet"))
    assert table["energy_uj"].to_pylist() == [10, 20, 30]
    assert (trace.rows, trace.first_us, trace.last_us, trace.sums["energy_uj"]) == (3, 1, 3, 60)


def test_what_cannot_be_written_stays_on_local_disk(tmp_path):
    segment = write(tmp_path / "spool", batches=1, rows_each=2)
    (tmp_path / "wh").write_text("not a folder")
    with pytest.raises(WarehouseError):
        seal(Warehouse.at(tmp_path / "wh"), POWER, segment, "power/n/a.parquet")
    assert read_segment(segment).num_rows == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_clear_error(tmp_path, monkeypatch):
    writer = SegmentWriter(POWER, tmp_path, "power")
    writer._rows.append(row(1))
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr(writer, "_open", lambda _: pa.ipc.new_stream(full, POWER.arrow))
        with pytest.raises(DiskFull, match="no space left"):
            writer.flush()


def test_a_segment_without_a_head_is_kept_aside(tmp_path):
    broken = tmp_path / "power-1.open"
    broken.write_bytes(b"\x00\x01")
    assert seal(Warehouse.at(tmp_path / "wh"), POWER, broken, "power/n/a.parquet") is None
    assert leftovers(tmp_path) == []
    assert broken.with_suffix(".broken").exists()
