"""joulemark's load client beside ``vllm bench serve`` and ``vllm-rs bench serve``, against one real vLLM server.

    python benchmarks/client_beside.py --cache FOLDER [--repeats 6] [--as-it-comes]

A generated model on vLLM's CPU build, one server for all; the clients take turns, each time in the opposite order of
the time before, and ask for the same number of requests of the same lengths at the same concurrency, all streams
beginning at once. Tokens must be identical, by each client's own count and by the server's counters. Medians of TTFT
and of TPOT (the time after the first token over the tokens after it) must agree within the noise of the repeats: the
mean difference of two clients' medians against its 95 % interval, all comparisons together. Each other client is held
against joulemark with prompts of the same kind: `vllm bench serve` sends texts, `vllm-rs` token ids. Others are
installed below FOLDER (some GB) where they are not there yet. Ends with 1 where tokens or times differ.

All ask for usage on every chunk, with which joulemark counts tokens. It costs the server time; with ``--as-it-comes``
the others run once more without it, and show how much.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent))
from client_rivals import (
    OURS,
    OURS_TEXT,
    VLLM_SET,
    Client,
    Load,
    Missing,
    environment,
    have,
    ours,
    tokenizer,
    vllm_bench,
    vllm_rs,
)
from client_watch import cores, run_on

from joulemark.agents.environments.make import ensure_environment

CONCURRENCY, REQUESTS, INPUT_TOKENS, OUTPUT_TOKENS = 8, 160, 64, 64
AS_IT_COMES = "as it comes"
SENDS_TEXT = "(Python)"
"""In the name of a client whose prompts are texts."""
COMPARISONS = 4
"""Two metrics, two others: each interval is wide enough for all four to hold at 95 % (Bonferroni)."""
READY_S, LIMIT_S = 300.0, 300.0
COUNTERS = ("prompt_tokens_total", "generation_tokens_total", "request_success_total")


@dataclass
class Seen:
    """What one client saw, a value for each run."""

    ttft_ms: list[float] = field(default_factory=list)
    tpot_ms: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    output_tokens: list[int] = field(default_factory=list)
    input_tokens: list[int] = field(default_factory=list)
    odd_lengths: int = 0
    server: list[Mapping[str, float]] = field(default_factory=list)


@contextmanager
def vllm(cache: Path, model: Path, core: int) -> Iterator[str]:
    """Run a vLLM server on one core and yield its URL. It is gone when this ends."""
    python = ensure_environment(VLLM_SET, cache, lambda line: print(line, file=sys.stderr))
    port = 20_000 + os.getpid() % 20_000
    words = ["-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name", "tiny"]
    words += ["--host", "127.0.0.1", "--port", str(port), "--enforce-eager", "--max-model-len", "1024"]
    words += ["--no-enable-prefix-caching"]
    variables = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            ["taskset", "-c", str(core), str(python), *words],
            env=environment() | variables,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(server, url)
            yield url
        finally:
            # Its engine outlives a server that is killed alone: the whole group goes.
            os.killpg(server.pid, 15)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, 9)
                server.wait()


def _wait_until_ready(server: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        if server.poll() is not None:
            sys.exit(f"the vLLM server ended with {server.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310 -- our own server
                return
        except OSError:
            time.sleep(0.5)
    sys.exit(f"the vLLM server was not ready in {READY_S:.0f} s")


def counters(url: str) -> dict[str, float]:
    """Return what the server itself has counted."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as page:  # noqa: S310 -- our own server
        text = page.read().decode()
    return {
        name: sum(float(v) for v in re.findall(rf"^vllm:{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))
        for name in COUNTERS
    }


def run(client: Client, load: Load, seen: Seen | None) -> None:
    """Run a client once and add what it saw."""
    before = counters(load.url)
    with tempfile.TemporaryDirectory() as place:
        here = replace(load, folder=Path(place))
        ran = run_on(cores()[1], client.command(here), environment(), LIMIT_S)
        if ran.code:
            sys.exit(f"{client.name} ended with {ran.code}: {ran.output[-800:]}")
        assert client.result is not None
        measured = client.result(here)
    if seen is None:
        return
    after = counters(load.url)
    seen.ttft_ms.append(float(np.median(measured.ttft_s)) * 1e3)
    seen.tpot_ms.append(float(np.median(measured.tpot_s)) * 1e3)
    seen.requests.append(len(measured.output_tokens))
    seen.output_tokens.append(sum(measured.output_tokens))
    seen.input_tokens.append(sum(measured.input_tokens))
    seen.odd_lengths += sum(n != OUTPUT_TOKENS for n in measured.output_tokens)
    seen.server.append({n: after[n] - before[n] for n in COUNTERS})


def main() -> int:
    """Run all clients by turns and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cache", type=Path, required=True, help="where the others are, or will be installed")
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--as-it-comes", action="store_true", help="the others also without usage on every chunk")
    asked = parser.parse_args()
    os.environ.setdefault("JOULEMARK_HOME", tempfile.mkdtemp())
    os.sched_setaffinity(0, {cores()[0]})
    others = [have("vllm bench serve", vllm_bench, asked.cache), have("vllm-rs", vllm_rs, asked.cache)]
    found = [ours(), ours(text=True), *others]
    for one in found:
        if isinstance(one, Missing):
            print(f"{one.name} could not be run: {one.reason}")
    clients = [c for c in found if isinstance(c, Client)]
    if asked.as_it_comes:
        clients += [replace(c, name=f"{c.name}, {AS_IT_COMES}") for c in others if isinstance(c, Client)]
    model = tokenizer(asked.cache)
    seen = {c.name: Seen() for c in clients}
    with vllm(asked.cache, model, cores()[0]) as url:
        load = Load(url, CONCURRENCY, REQUESTS, INPUT_TOKENS, OUTPUT_TOKENS, 1.0, model, Path(), together=True)
        # The first run warms the server up, and tells how long joulemark has to measure for so many requests.
        begun = time.monotonic()
        run(clients[2], load, None)
        load = replace(load, answer_s=1.3 * (time.monotonic() - begun) * CONCURRENCY / REQUESTS)
        print(f"load of the machine before: {os.getloadavg()[0]:.2f}")
        for repeat in range(asked.repeats):
            for client in clients[:: -1 if repeat % 2 else 1]:
                counted = AS_IT_COMES not in client.name
                run(client, replace(load, seed=repeat, counted=counted), seen[client.name])
    return max(len(clients) < len(found), tokens(seen), times(seen, {c.name: c.version for c in clients}))


def tokens(seen: Mapping[str, Seen]) -> int:
    """Print whether all counted the same tokens; return 1 where not."""
    wrong = 0
    for name, one in seen.items():
        said = set(zip(one.requests, one.output_tokens, strict=True))
        # joulemark goes on until its window ends: its own count is of the first requests, the server's of all.
        served = {(s["generation_tokens_total"], s["request_success_total"]) for s in one.server}
        per_request = {t / n for t, n in served}
        well = said == {(REQUESTS, REQUESTS * OUTPUT_TOKENS)} and not one.odd_lengths and per_request == {OUTPUT_TOKENS}
        wrong |= not well
        print(
            f"{name:<41} requests and output tokens of each run {sorted(said)}, answers of another length "
            f"{one.odd_lengths}, by the server {sorted(per_request)} a request, input {sorted(set(one.input_tokens))}"
            f"{'' if well else '   MISSED'}"
        )
    return wrong


def times(seen: Mapping[str, Seen], versions: Mapping[str, str]) -> int:
    """Print the medians of all clients and whether they agree; return 1 where not."""
    wrong = 0
    for metric in ("ttft_ms", "tpot_ms"):
        for name, one in seen.items():
            runs = np.array(getattr(one, metric))
            print(
                f"{metric[:4].upper()} {name:<41}{versions[name]:>8}  mean of medians {runs.mean():8.3f} ms, "
                f"standard deviation {runs.std(ddof=1):.3f} ms   ({' '.join(f'{r:.2f}' for r in runs)})"
            )
        for name, one in seen.items():
            if name in (OURS, OURS_TEXT):
                continue
            own = OURS_TEXT if SENDS_TEXT in name else OURS
            mine = np.array(getattr(seen[own], metric))
            theirs = np.array(getattr(one, metric))
            # Of pairs: what slows the machine down for a while slows neighbours in time.
            difference = mine - theirs
            half = stats.t.ppf(1 - 0.025 / COMPARISONS, len(mine) - 1) * difference.std(ddof=1) / np.sqrt(len(mine))
            well = abs(difference.mean()) <= half
            held = AS_IT_COMES not in name
            wrong |= held and not well
            print(
                f"{metric[:4].upper()} {own} - {name}: {difference.mean():+.3f} ms "
                f"({difference.mean() / theirs.mean():+.2%}), noise {half:.3f} ms"
                f"{'' if held else '   no limit'}{'   MISSED' if held and not well else ''}"
            )
    return wrong


if __name__ == "__main__":
    sys.exit(main())
