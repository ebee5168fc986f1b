"""CPU time per streamed chunk of joulemark's load client and of others, against the same scripted server.

    python benchmarks/client_cost.py --cache FOLDER [--repeats 2]

Every client gets the same concurrency, number of requests and chunks per answer, and one core of its own; the server
(tests/scripted_server, which a C compiler builds) has another. CPU time is that of the client's whole tree, user and
system, from the first request to the last chunk: neither its start nor its report counts. As from vLLM, usage is on
every chunk for those who ask for it: joulemark and GuideLLM do. Other clients are installed below FOLDER (some GB)
where they are not there yet. Ends with 1 where a limit is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from client_rivals import (
    Client,
    Load,
    Missing,
    aiperf,
    bare,
    environment,
    guidellm,
    have,
    ours,
    tokenizer,
    vllm_bench,
    vllm_rs,
)
from client_watch import cores, others_busy, run_on, serving, spread, streaming, wait_for_quiet
from server_process import FLAGS, SOURCES, build

STREAMS, CHUNKS, GAP_S, TTFT_S, REQUESTS, INPUT_TOKENS = 100, 100, 0.02, 0.04, 1000, 16
LIMITS = {"vllm bench serve (Python)": 0.6, "GuideLLM": 0.5, "AIPerf": 0.35}
LIMIT_S = 240.0
TRIES, OTHERS_AT_MOST = 4, 0.15
"""A run during which other programs used more of a core is made again."""


@dataclass
class Cost:
    """What the runs of one client cost."""

    us_per_chunk: list[float] = field(default_factory=list)
    whole_us_per_chunk: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)
    per_s: list[float] = field(default_factory=list)
    late_p99_us: list[float] = field(default_factory=list)
    server_busy: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    """Cores that anything but client, server and this program used meanwhile."""

    def forget_last(self) -> None:
        """Take the last run out again."""
        for values in vars(self).values():
            values.pop()


def measure(client: Client, load_of: partial[Load], server_program: Path, cost: Cost) -> str | None:
    """Run a client once and add what it cost; return what went wrong."""
    server_core, client_core = cores()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with serving(folder / "server", server_program, spread(CHUNKS, GAP_S, TTFT_S), server_core) as server:
            load = load_of(url=server.url, folder=folder)
            own_s = time.process_time()
            ran = run_on(client_core, client.command(load), environment(), LIMIT_S)
            own_s = time.process_time() - own_s
            server_s, truth = server.cpu_s, server.truth()
    if ran.code != 0 or not len(truth):
        return f"exit code {ran.code}: {ran.output.strip()[-400:]}"
    start_ns, end_ns = streaming(truth)
    span_s = (end_ns - start_ns) / 1e9
    cost.us_per_chunk.append(ran.used_s(start_ns, end_ns) / truth.events * 1e6)
    cost.whole_us_per_chunk.append(ran.busy_s / truth.events * 1e6)
    cost.busy.append(ran.used_s(start_ns, end_ns) / span_s)
    cost.chunks.append(truth.events)
    cost.per_s.append(truth.events / span_s)
    cost.late_p99_us.append(float(np.percentile(truth.late_ns, 99)) / 1e3)
    cost.server_busy.append(server_s / span_s)
    cost.others.append(others_busy(ran, server_s, own_s, start_ns, end_ns))
    whole = sum(p.ended == "as scripted" for p in truth)
    return None if whole >= 0.95 * REQUESTS else f"only {whole} of {REQUESTS} answers were taken whole"


def measured_quietly(client: Client, load_of: partial[Load], program: Path, cost: Cost, wait_s: float) -> str | None:
    """Measure again where the machine had other things to do, ``TRIES`` times in all; return what went wrong."""
    for again in reversed(range(TRIES)):
        wait_for_quiet(wait_s)
        problem = measure(client, load_of, program, cost)
        if problem or cost.others[-1] <= OTHERS_AT_MOST or not again:
            return problem
        cost.forget_last()
    return None


def reader(folder: Path) -> Client:
    """Build the bare socket reader."""
    program = folder / "bare-reader"
    subprocess.run(["cc", *FLAGS, "-o", str(program), str(SOURCES / "reader" / "bare_reader.c")], check=True)
    return bare(program)


def main() -> int:
    """Measure all clients by turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cache", type=Path, required=True, help="where the other clients are, or will be installed")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--wait", type=float, default=15.0, help="seconds to wait for a quiet machine before each run")
    parser.add_argument("--only", help="clients whose names hold this")
    asked = parser.parse_args()
    os.environ.setdefault("JOULEMARK_HOME", tempfile.mkdtemp())
    os.sched_setaffinity(0, {cores()[0]})
    folder = Path(tempfile.mkdtemp())
    program = build(folder)
    makers = {
        "vllm bench serve (Python)": vllm_bench,
        "vllm-rs bench serve (Rust)": vllm_rs,
        "GuideLLM": guidellm,
        "AIPerf": aiperf,
    }
    clients = [ours(), *[have(name, make, asked.cache) for name, make in makers.items()], reader(folder)]
    if asked.only:
        clients = [c for c in clients if asked.only in c.name]
    load_of = partial(
        Load,
        concurrency=STREAMS,
        requests=REQUESTS,
        input_tokens=INPUT_TOKENS,
        output_tokens=CHUNKS,
        answer_s=TTFT_S + CHUNKS * GAP_S,
        tokenizer=tokenizer(asked.cache),
    )
    costs = {c.name: Cost() for c in clients}
    wrong = {c.name: c.reason for c in clients if isinstance(c, Missing)}
    for _ in range(asked.repeats):
        for client in clients:
            if isinstance(client, Client) and client.name not in wrong:
                problem = measured_quietly(client, load_of, program, costs[client.name], asked.wait)
                if problem:
                    wrong[client.name] = problem
    versions = {c.name: c.version for c in clients if isinstance(c, Client)}
    return report(costs, versions, wrong)


def report(costs: dict[str, Cost], versions: dict[str, str], wrong: dict[str, str]) -> int:
    """Print the table; return 1 where a limit is missed or could not be held against anything."""
    print(f"{STREAMS} streams, {CHUNKS} chunks an answer, {1 / GAP_S:g} chunks/s each; load {os.getloadavg()[0]:.2f}")
    head = (
        "client",
        "version",
        "chunks",
        "chunks/s",
        "us/chunk",
        "(runs)",
        "with start",
        "core",
        "server",
        "others",
        "late p99",
    )
    print("{:<28}{:>9}{:>9}{:>10}{:>10}  {:<16}{:>11}{:>7}{:>8}{:>8}{:>11}".format(*head))
    middle = {}
    for name, cost in costs.items():
        if name in wrong or not cost.chunks:
            print(f"{name:<28}{versions.get(name, ''):>9}  not measured: {wrong.get(name, 'no run')}")
            continue
        middle[name] = statistics.median(cost.us_per_chunk)
        runs = " ".join(f"{u:.1f}" for u in cost.us_per_chunk)
        print(
            f"{name:<28}{versions[name]:>9}{cost.chunks[-1]:>9}{statistics.median(cost.per_s):>10.0f}"
            f"{middle[name]:>10.2f}  {runs:<16}{statistics.median(cost.whole_us_per_chunk):>11.1f}"
            f"{statistics.median(cost.busy):>7.0%}{statistics.median(cost.server_busy):>8.0%}"
            f"{statistics.median(cost.others):>8.0%}{statistics.median(cost.late_p99_us):>8.0f} us"
        )
    missed = []
    for name, us in middle.items():
        if name == "joulemark" or "joulemark" not in middle:
            continue
        ratio, limit = middle["joulemark"] / us, LIMITS.get(name)
        well = limit is None or ratio <= limit
        beside = "no limit" if limit is None else f"limit {limit}"
        print(f"joulemark / {name:<28} {ratio:6.2f}   {beside}{'' if well else '   MISSED'}")
        if not well:
            missed.append(name)
    return 1 if missed or set(LIMITS) - set(middle) else 0


if __name__ == "__main__":
    sys.exit(main())
