"""A ring of the newest power readings in a memory-mapped file, which outlives the process that writes it.

The kernel keeps what was stored in a shared mapping when its process is killed. A reading counts once the number of
readings, one aligned word, has been stored after it: a kill at any moment leaves whole readings only. Nothing here
protects from a crash of the machine, so the ring of an earlier boot is not read.

Layout, in the byte order of the machine::

    0      magic, 8 bytes
    8      four words of 8 bytes: capacity, readings recorded, readings in segments, bytes of text
    40     text: per entry its length in 2 bytes and its UTF-8; entry 0 is empty, 1 the boot id, 2 the node
    65536  capacity x (t_us i64, energy_uj i64, power_mw i32, channel u16, reason u16)

``channel`` and ``reason`` are numbers of text entries; a channel's text is its meter, device, scope and fidelity. The
lowest value of its type means that a number is missing.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from joulemark.agents.spool.segment import DRAFT
from joulemark.warehouse.errors import DiskFull, MeterError

SUFFIX = ".ring"
CAPACITY = 1 << 14
"""20 s of 8 devices with 3 channels each, read 30 times a second."""
MAGIC = b"JMRING01"
WORDS_AT, TEXT_AT, RECORDS_AT = 8, 40, 1 << 16
RECORDED, FLUSHED, TEXT_BYTES = 1, 2, 3
RECORD = struct.Struct("=qqiHH")
_pack_record = RECORD.pack_into
RECORD_TYPE = np.dtype([("t", "=i8"), ("energy", "=i8"), ("power", "=i4"), ("channel", "=u2"), ("reason", "=u2")])
NO_ENERGY, NO_POWER = -(1 << 63), -(1 << 31)
BOOT, NODE = 1, 2
SEPARATOR = "\x1f"
TEXT_KEPT = 500
TOO_MANY = "other (too many different reasons to keep their text)"


@dataclass
class Ring:
    """An open ring. ``recorded`` counts all readings since it was made; the last ``capacity`` of them are in it."""

    path: Path
    memory: mmap.mmap
    descriptor: int
    codes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._words = memoryview(self.memory)[WORDS_AT:TEXT_AT].cast("Q")
        self.capacity: int = self._words[0]
        self._records: Any = np.frombuffer(self.memory, RECORD_TYPE, self.capacity, RECORDS_AT)
        for text in self._stored_texts():
            self.codes.setdefault(text, len(self.codes))

    @classmethod
    def create(cls, path: Path, boot: str, node: str, capacity: int = CAPACITY) -> Ring:
        """Make a ring, locked as long as this process lives. Raises DiskFull where there is no space for it."""
        draft = path.with_suffix(DRAFT)
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = RECORDS_AT + capacity * RECORD.size
        try:
            # All of it now: a mapped file that cannot grow later would kill the sampler.
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            draft.unlink()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(f"no space left to write {path}; free some and run again") from error
            raise
        memory = mmap.mmap(descriptor, size)
        struct.pack_into("=8sQ", memory, 0, MAGIC, capacity)
        ring = cls(path, memory, descriptor)
        for text in ("", boot, node):
            ring.code(text)
        os.rename(draft, path)
        return ring

    @classmethod
    def open(cls, path: Path) -> Ring:
        """Open a ring that another process made.

        Raises BlockingIOError while that one lives, ValueError where it is no ring, FileNotFoundError.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cls(path, _mapped(descriptor), descriptor)
        except (OSError, ValueError) as error:
            os.close(descriptor)
            if isinstance(error, ValueError):
                raise ValueError(f"{path}: not a ring of this version") from error
            raise

    @property
    def recorded(self) -> int:
        """Readings recorded since the ring was made."""
        return self._words[RECORDED]

    @property
    def flushed(self) -> int:
        """Readings that are in a segment; at least these, where the writer was killed."""
        return self._words[FLUSHED]

    @flushed.setter
    def flushed(self, count: int) -> None:
        self._words[FLUSHED] = count

    @property
    def room(self) -> int:
        """Readings that can be recorded before one would be replaced that is in no segment yet."""
        return self.capacity - self._words[RECORDED] + self._words[FLUSHED]

    def append(self, t_us: int, channel: int, power_mw: int | None, energy_uj: int | None, reason: int) -> None:
        """Record one reading; the caller sees to it that there is room."""
        count = self._words[RECORDED]
        _pack_record(
            self.memory,
            RECORDS_AT + count % self.capacity * RECORD.size,
            t_us,
            NO_ENERGY if energy_uj is None else energy_uj,
            NO_POWER if power_mw is None else power_mw,
            channel,
            reason,
        )
        self._words[RECORDED] = count + 1

    def records(self, first: int, end: int) -> Any:
        """Return a copy of readings ``first`` to ``end`` (not included) as an array of ``RECORD_TYPE``."""
        begin, length = first % self.capacity, end - first
        wrapped = begin + length - self.capacity
        if wrapped <= 0:
            return self._records[begin : begin + length].copy()
        return np.concatenate((self._records[begin:], self._records[:wrapped]))

    def channel(self, *parts: str) -> int:
        """Return the code of a channel. Raises MeterError where no more of them fit."""
        code = self.code(SEPARATOR.join(parts))
        if code is None:
            raise MeterError(f"the ring has no room for channel {parts}: there are {len(self.codes)} texts in it")
        return code

    def reason(self, text: str | None) -> int:
        """Return the code of a reason, shortened where it is long; past the room there is, a common one."""
        if text is None:
            return 0
        code = self.code(text[:TEXT_KEPT], spare=(RECORDS_AT - TEXT_AT) // 2)
        return self.channel(TOO_MANY) if code is None else code

    def code(self, text: str, spare: int = 0) -> int | None:
        """Return the number of a text, stored now where it is new; None where under ``spare`` bytes would be left."""
        code = self.codes.get(text)
        if code is not None:
            return code
        stored = text.encode()
        used = self._words[TEXT_BYTES]
        end = TEXT_AT + used + 2 + len(stored)
        if end > RECORDS_AT - spare:
            return None
        self.memory[TEXT_AT + used : end] = struct.pack("=H", len(stored)) + stored
        self._words[TEXT_BYTES] = end - TEXT_AT
        return self.codes.setdefault(text, len(self.codes))

    def texts(self) -> list[str]:
        """Return all texts; a code is an index into them."""
        return list(self.codes)

    def close(self) -> None:
        """Let go of the file and its lock; the file stays."""
        self._words.release()
        del self._records
        self.memory.close()
        os.close(self.descriptor)

    def _stored_texts(self) -> Iterator[str]:
        at, end = TEXT_AT, TEXT_AT + self._words[TEXT_BYTES]
        while at < end:
            (length,) = struct.unpack_from("=H", self.memory, at)
            yield self.memory[at + 2 : at + 2 + length].decode()
            at += 2 + length


def _mapped(descriptor: int) -> mmap.mmap:
    memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
    if len(memory) < RECORDS_AT or memory[:WORDS_AT] != MAGIC:
        raise ValueError("no ring")
    (capacity,) = struct.unpack_from("=Q", memory, WORDS_AT)
    if len(memory) != RECORDS_AT + capacity * RECORD.size:
        raise ValueError("not of this size")
    return memory
