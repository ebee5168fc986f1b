"""What a killed sampler had recorded and not yet written: from its ring into a segment of its own."""

from __future__ import annotations

import os
from pathlib import Path

from joulemark.agents.spool.power_rows import PowerRows
from joulemark.agents.spool.ring import BOOT, SUFFIX, Ring
from joulemark.agents.spool.segment import CLOSED, OPEN, SegmentWriter, read_segment
from joulemark.warehouse.schema.traces import POWER


def rings(folder: Path) -> list[Path]:
    """Return the rings below ``folder``, of living and of dead samplers."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def recover(path: Path, boot: str) -> Path | None:
    """Write what only the ring holds to a segment beside the sampler's own, and delete the ring; None for nothing.

    However often a crash interrupts this, doing it again neither loses nor doubles a reading. Raises BlockingIOError
    while the sampler lives.
    """
    try:
        ring = Ring.open(path)
    except ValueError:
        path.rename(path.with_suffix(".broken"))
        return None
    try:
        segment = _rest(ring, path.stem) if ring.texts()[BOOT : BOOT + 1] == [boot] else None
    finally:
        ring.close()
    path.unlink()
    return segment


def _rest(ring: Ring, prefix: str) -> Path | None:
    first = max(_end_of_segments(ring, prefix), ring.recorded - ring.capacity)
    if first >= ring.recorded:
        return None
    draft = SegmentWriter(POWER, ring.path.parent, f"draft-{os.getpid()}", written=first)
    draft.write(PowerRows(ring).batch(first, ring.recorded))
    made = draft.rotate()
    assert made is not None
    return made.rename(ring.path.parent / f"{prefix}-{first:012d}{CLOSED}")


def _end_of_segments(ring: Ring, prefix: str) -> int:
    """Return the number of the first reading that is in no segment.

    The ring's own count says it, less the batch that may have been written just before the sampler was killed.
    """
    segments = (p for p in ring.path.parent.glob(f"{prefix}-*") if p.suffix in (OPEN, CLOSED))
    return max(ring.flushed, *map(_end_of, segments), 0)


def _end_of(segment: Path) -> int:
    try:
        return int(segment.stem.rpartition("-")[2]) + int(read_segment(segment).num_rows)
    except ValueError:
        # Damaged: sealing puts it aside.
        return 0
