"""Kill -9 a sampler and an agent at random moments and count what is lost.

``python benchmarks/kills.py --kills 200`` kills each of the two 200 times. Half of the kills meet a sampler that
writes its batches 200 times a second instead of once, so that many of them land while it writes. The last lines are
kills of a sampler whose ring is thrown away as well.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "agents" / "sampler"))
os.environ.setdefault("JOULEMARK_HOME", tempfile.mkdtemp())
import killing

from joulemark.agents.spool.recover import rings
from joulemark.agents.spool.ring import Ring
from joulemark.agents.spool.seal import leftovers
from joulemark.agents.spool.segment import read_segment

LIMIT_S = 1.0


def kill_sampler(folder: Path, moment: random.Random, number: int) -> tuple[int, bool]:
    """Kill one and return (readings recorded, whether all of them are there, once each)."""
    sampler = killing.Sampler.start(folder, batch_s=(1.0, 0.005)[number % 2])
    sampler.wait_for_readings()
    if number % 4 == 0:
        time.sleep(moment.uniform(0, 0.5))
        sampler.rotate()
    time.sleep(moment.uniform(0, 1.2))
    sampler.kill()
    return sampler.ledger.recorded, killing.whole(sampler.left(), sampler.ledger)


def kill_agent(folder: Path, moment: random.Random, number: int) -> tuple[int, bool]:
    """Kill one that seals again and again, start another, and return the same for all samplers that ran."""
    agent = killing.agent_to_kill(folder, batch_s=(1.0, 0.005)[number % 2], seal_every_s=moment.uniform(0, 0.3))
    killing.wait_until(lambda: any(killing.Ledger(p).recorded for p in folder.glob("ledger-*")))
    time.sleep(moment.uniform(0, 1.2))
    os.kill(agent, signal.SIGKILL)
    os.waitpid(agent, 0)
    killing.power_trace(folder).close()
    samplers = killing.sealed(folder).values()
    left_over = list((folder / "spool").iterdir())
    return (
        sum(ledger.recorded for ledger, _ in samplers),
        not left_over and all(killing.whole(numbers, ledger) for ledger, numbers in samplers),
    )


def lost_without_ring_s(folder: Path, moment: random.Random) -> float:
    """Kill a sampler, throw its ring away, and return the time between its last reading and the last one left."""
    sampler = killing.Sampler.start(folder)
    sampler.wait_for_readings()
    time.sleep(moment.uniform(1.0, 2.2))
    sampler.kill()
    (ring,) = rings(sampler.spool)
    last_us = last_instant_us(ring)
    ring.unlink()
    left = [t for s in leftovers(sampler.spool) if s.name.startswith("power-") for t in instants_us(s)]
    return (last_us - max(left)) / 1e6


def last_instant_us(path: Path) -> int:
    """Return the instant of the last reading in a ring."""
    ring = Ring.open(path)
    try:
        return int(ring.records(ring.recorded - 1, ring.recorded)["t"][0])
    finally:
        ring.close()


def instants_us(segment: Path) -> list[int]:
    """Return the instants of a segment's readings."""
    instants: list[int] = read_segment(segment)["t"].cast("int64").to_pylist()
    return instants


def main() -> None:
    """Print what was lost; end with 1 where it was more than the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--without-ring", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    moment, broken = random.Random(options.seed), 0  # noqa: S311 -- moments, not secrets
    with tempfile.TemporaryDirectory() as place:
        folders = (Path(place) / str(n) for n in range(1 << 20))
        for name, kill in (("sampler", kill_sampler), ("agent", kill_agent)):
            ends = []
            for number in range(options.kills):
                folder = next(folders)
                folder.mkdir()
                ends.append(kill(folder, moment, number))
            bad = sum(not well for _, well in ends)
            broken += bad
            print(
                f"{name}: {len(ends)} kills, {sum(r for r, _ in ends):,} readings recorded; "
                f"kills after which one was missing, doubled or made up: {bad} (limit 0)",
                flush=True,
            )
        lost = []
        for _ in range(options.without_ring):
            folder = next(folders)
            folder.mkdir()
            lost.append(lost_without_ring_s(folder, moment))
    if lost:
        broken += max(lost) > LIMIT_S
        print(f"sampler, ring lost too: {len(lost)} kills, at most {max(lost):.2f} s lost (limit {LIMIT_S:g} s)")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
