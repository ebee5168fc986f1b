"""Total time of a sweep beside its bound: the windows, and the engine starts that cannot be avoided.

    python benchmarks/sweep_time.py [--engine vllm] [--window 30] [--repeats 2]

The sweep runs as a user would run it, with a warehouse of its own. Warm-ups are asked for too, and are shown apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SWEEP = """
schema: 1
name: sweep-time
matrix:
  model: [tiny-dense, tiny-moe]
  quantization: {quantization}
  engine: {engine}
  accelerator: cpu
  concurrency: [1, 2, 4]
workload: {{input_tokens: 64, output_tokens: 32, seed: 7}}
measure: {{repeats: {repeats}, warmup: 5s, window: {window}s}}
"""
QUANTIZATIONS = {"llamacpp": "q8_0", "vllm": "bf16"}
STARTS_MOST = 1.0
"""Engine starts by deployment."""
MOST_PER_TRIAL_S = 3.0
"""Time of a trial beyond warm-up and window: draining, sealing, the verdict."""
MOST_OF_BOUND = 1.5

TIMES = """
SELECT
  count(*) AS trials,
  count(DISTINCT engine_start) AS starts,
  count(DISTINCT deployment) AS deployments,
  sum(window_s) AS windows_s,
  sum(warmup_s) AS warmups_s,
  sum(epoch(ended_at) - epoch(started_at)) AS trials_s,
  (SELECT sum(ready_s) FROM (SELECT DISTINCT engine_start, ready_s FROM trials)) AS ready_s,
  sum(ready_s) AS ready_each_s
FROM trials
"""


def main() -> int:
    """Run the sweep and print its times."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        sweep = Path(folder) / "sweep.yaml"
        quantization = QUANTIZATIONS[options.engine]
        sweep.write_text(SWEEP.format(quantization=quantization, **vars(options)), encoding="utf-8")
        begun = time.monotonic()
        _joulemark(folder, "run", str(sweep))
        wall_s = time.monotonic() - begun
        (times,) = json.loads(_joulemark(folder, "sql", TIMES, "--json"))
    return _report(times, wall_s)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=sorted(QUANTIZATIONS), default="llamacpp")
    parser.add_argument("--window", type=int, default=30, help="seconds")
    parser.add_argument("--repeats", type=int, default=2)
    return parser.parse_args()


def _joulemark(folder: str, *arguments: str) -> str:
    program = Path(sys.executable).with_name("joulemark")
    environment = {**os.environ, "JOULEMARK_WAREHOUSE": f"{folder}/records"}
    done = subprocess.run(
        [str(program), *arguments], env=environment, stdout=subprocess.PIPE, stderr=sys.stderr, text=True, check=True
    )
    return done.stdout


def _report(times: dict[str, Any], wall_s: float) -> int:
    bound_s = times["windows_s"] + times["ready_s"]
    each_s = (times["trials_s"] - times["windows_s"] - times["warmups_s"]) / times["trials"]
    lines = {
        "windows": times["windows_s"],
        f"engine starts until ready ({times['starts']} for {times['deployments']} deployments)": times["ready_s"],
        "bound: windows and unavoidable starts": bound_s,
        "warm-ups, as asked for": times["warmups_s"],
        "the trials' other time: draining, sealing": times["trials_s"] - times["windows_s"] - times["warmups_s"],
        "the rest: joulemark's own start and end, idle measurements, stopping engines": wall_s
        - times["trials_s"]
        - times["ready_s"],
        "total": wall_s,
        "starts alone if each trial had one of its own": times["ready_each_s"],
    }
    for what, seconds in lines.items():
        print(f"{seconds:8.1f} s  {what}")
    figures = (
        ("engine starts / deployments", times["starts"] / times["deployments"], STARTS_MOST),
        ("a trial's time beyond warm-up and window [s]", each_s, MOST_PER_TRIAL_S),
        ("total / bound", wall_s / bound_s, MOST_OF_BOUND),
        ("total / (bound and warm-ups)", wall_s / (bound_s + times["warmups_s"]), MOST_OF_BOUND),
    )
    for what, value, limit in figures:
        print(f"{value:8.2f}    {what} (limit {limit:g}){'' if value <= limit else '  MISSED'}")
    return int(any(value > limit for _, value, limit in figures))


if __name__ == "__main__":
    sys.exit(main())
