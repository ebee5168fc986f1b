"""Runs joulemark's load client as the agent does; the order is the first argument, in JSON.

The trial's own files are left in ``folder``: rows, what the client says of itself, and times by request.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from joulemark.agents.client.conductor import Conductor
from joulemark.agents.client.job import Broken, ClientJob
from joulemark.agents.clock import NodeClock
from joulemark.agents.spool.segment import read_segment
from joulemark.workloads.workload import Arrivals, Workload


def job(order: dict[str, Any]) -> ClientJob:
    """Return the job that an order asks for; a closed loop where it names no arrivals."""
    arrivals = Arrivals(**order["arrivals"]) if "arrivals" in order else "closed"
    workload = Workload(
        order["input_tokens"], order["output_tokens"], order.get("concurrency"), arrivals, seed=order.get("seed", 0)
    )
    return ClientJob(
        trial="benchmark",
        node="node",
        clock=NodeClock.of_this_node(),
        url=order["url"],
        model="tiny",
        spool=order["folder"],
        workload=workload,
        vocab_size=order.get("vocab_size", 1000),
        prompt_seed=order.get("seed", 0) + 1,
        warmup_s=order["warmup_s"],
        window_s=order["window_s"],
        body=order.get("body", {}),
        fixed_length={"ignore_eos": True},
        processes=order.get("processes", 0),
        drain_s=60.0,
    )


def times(rows: pa.Table, seconds_from: int) -> dict[str, list[Any]]:
    """Return times and tokens of the whole answers that were asked for from an instant on."""
    whole = [r for r in rows.to_pylist() if r["status"] == "ok" and r["sent_at"].timestamp() * 1e6 >= seconds_from]
    ttft, tpot = [], []
    for row in whole:
        gaps_us = np.array(row["chunk_dt_us"])
        counts = np.array(row["chunk_tokens"] or [1] * len(gaps_us))
        ttft.append(float(gaps_us[0]) / 1e6)
        if counts[1:].sum():
            tpot.append(float(gaps_us[1:].sum() / counts[1:].sum()) / 1e6)
    return {
        "ttft_s": ttft,
        "tpot_s": tpot,
        "output_tokens": [r["output_tokens"] for r in whole],
        "input_tokens": [r["input_tokens"] for r in whole],
        "timed_tokens": [sum(r["chunk_tokens"] or [1] * len(r["chunk_dt_us"])) for r in whole],
        "untimed_tokens": [r["untimed_tokens"] for r in whole],
    }


def main() -> None:
    """Run the order."""
    order = json.loads(sys.argv[1])
    said = Conductor.start(job(order)).result(lambda _: None)
    folder = Path(order["folder"])
    (folder / "said.json").write_bytes(msgspec.json.encode(said))
    if isinstance(said, Broken):
        sys.exit(said.error)
    if order.get("times", True):
        rows = pa.concat_tables(read_segment(Path(s)) for s in said.segments)
        (folder / "measured.json").write_text(json.dumps(times(rows, 0)))


if __name__ == "__main__":
    main()
