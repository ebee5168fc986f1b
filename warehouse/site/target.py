"""The folder that a site is written to. Every file's hash is kept; files of the publication before are taken away."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joulemark.warehouse.errors import BadInput, DiskFull, WarehouseError

SUMS = "SHA256SUMS"
"""List of all files with their hashes, as `sha256sum --check` reads it."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class Target:
    """A folder to write into. ``hashes`` are the SHA-256 of what was written, by name."""

    folder: Path
    hashes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def at(cls, folder: Path) -> Target:
        """Take a folder that is not there, is empty, or holds an earlier publication. Raises BadInput for another."""
        if folder.exists() and not folder.is_dir():
            raise BadInput(f"{folder} is a file; give a folder to publish into")
        if (
            folder.is_dir()
            and any(not p.name.startswith(".") for p in folder.iterdir())
            and not (folder / SUMS).exists()
        ):
            raise BadInput(f"{folder} holds files that joulemark did not publish; give an empty folder")
        return cls(folder)

    def write(self, name: str, content: bytes) -> str:
        """Write a file and return its SHA-256. Raises DiskFull or WarehouseError."""
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            kind = DiskFull if error.errno in _FULL else WarehouseError
            raise kind(f"cannot write {path}: {os.strerror(error.errno or errno.EIO)}") from error
        self.hashes[name] = hashlib.sha256(content).hexdigest()
        return self.hashes[name]

    def script(self, name: str, key: str, value: Any) -> str:
        """Write data as a script: a page that is opened as a file can load scripts, and nothing else."""
        return self.write(name, b"joulemark.receive(" + dumps(key) + b"," + dumps(value) + b");\n")

    def finish(self) -> None:
        """Take away what the publication before had and this one has not, and write the list of hashes."""
        sums = self.folder / SUMS
        before = _names(sums.read_text(encoding="utf-8")) if sums.exists() else set()
        for name in sorted(before - set(self.hashes)):
            path = self.folder / name
            # A list that someone wrote cannot make us delete what lies elsewhere.
            if path.is_file() and path.resolve().is_relative_to(self.folder.resolve()):
                path.unlink()
        lines = [f"{digest}  {name}\n" for name, digest in sorted(self.hashes.items())]
        sums.write_text("".join(lines), encoding="utf-8")


def dumps(value: Any) -> bytes:
    """Return compact JSON that is the same for the same value, and inert wherever a page may hold it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False, default=str)
    for harmful in "<>&\u2028\u2029":
        text = text.replace(harmful, f"\\u{ord(harmful):04x}")
    return text.encode()


def _names(sums: str) -> set[str]:
    return {line.partition("  ")[2] for line in sums.splitlines() if "  " in line}
