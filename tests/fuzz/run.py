"""Put a million inputs through the parsers of outside text.

    python tests/fuzz/run.py [--inputs 1000000] [--first 0] [--target NAME]

An input is made from its number alone, so a failure is made again with ``--first NUMBER --inputs 1``. Ends with 1 where
a parser raised what it does not declare, or returned what cannot be.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from mutate import mutated
from targets import TARGETS, Target


def fuzz(target: Target, first: int, inputs: int) -> list[int]:
    """Try the inputs from number ``first`` on; print failures and a line of figures; return the failed numbers."""
    failed, accepted, slowest = [], 0, (0.0, first)
    began = time.perf_counter()
    for number in range(first, first + inputs):
        data = mutated(target.seeds, number, target.name)
        before = time.perf_counter()
        try:
            accepted += target.accepts(data)
        except Exception:  # noqa: BLE001 -- whatever it is, it is what is looked for
            failed.append(number)
            print(f"{target.name}: input {number}: {data[:200]!r}\n{traceback.format_exc()}", file=sys.stderr)
        slowest = max(slowest, (time.perf_counter() - before, number))
    seconds = time.perf_counter() - began
    print(
        f"{target.name:12} {inputs} inputs in {seconds:.0f} s: {accepted} parsed, "
        f"{inputs - accepted - len(failed)} refused, {len(failed)} FAILED; "
        f"slowest {slowest[0] * 1e3:.1f} ms (input {slowest[1]})",
        flush=True,
    )
    return failed


def main() -> None:
    """Fuzz every target, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="inputs in all, divided among the targets")
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each target")
    parser.add_argument("--target", choices=[t.name for t in TARGETS], help="only this one")
    options = parser.parse_args()
    chosen = [t for t in TARGETS if options.target in (None, t.name)]
    each = -(-options.inputs // len(chosen))
    failed = [number for target in chosen for number in fuzz(target, options.first, each)]
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
