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
from joulemark.workloads.traffic.tables import Tables, digest_of
from joulemark.workloads.workload import Arrivals, Workload


def job(order: dict[str, Any]) -> ClientJob:
    """Return the job that an order asks for; a closed loop where it names no arrivals."""
    arrivals = Arrivals(**order["arrivals"]) if "arrivals" in order else "closed"
    folder, digest = Path(order["folder"]) / "tables", None
    if "tokenizer" in order:
        # Prompts are texts then, of as many tokens.
        content = Path(order["tokenizer"]).read_bytes()
        digest = digest_of(content)
        Tables({digest: content}).write(folder)
    workload = Workload(
        order["input_tokens"],
        order["output_tokens"],
        order.get("concurrency"),
        arrivals,
        seed=order.get("seed", 0),
        tokenizer=digest,
    )
    return ClientJob(
        trial="benchmark",
        node="node",
        clock=NodeClock.of_this_node(),
        url=order["url"],
        model="tiny",
        spool=order["folder"],
        tables=str(folder),
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


def times(rows: pa.Table, requests: int | None) -> dict[str, list[Any]]:
    """Return times and tokens of the first so many requests, all where None, that were answered whole.

    ``tpot_s`` is as others define it: the time after the first chunk over all tokens but one.
    """
    whole = [r for r in rows.sort_by("request").to_pylist() if r["status"] == "ok"][:requests]
    gaps_us = [np.array(r["chunk_dt_us"]) for r in whole]
    return {
        "ttft_s": [float(g[0]) / 1e6 for g in gaps_us],
        "tpot_s": [
            float(g[1:].sum()) / (r["output_tokens"] - 1) / 1e6
            for g, r in zip(gaps_us, whole, strict=True)
            if r["output_tokens"] > 1
        ],
        "output_tokens": [r["output_tokens"] for r in whole],
        "input_tokens": [r["input_tokens"] for r in whole],
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
        (folder / "measured.json").write_text(json.dumps(times(rows, order.get("requests"))))


if __name__ == "__main__":
    main()
