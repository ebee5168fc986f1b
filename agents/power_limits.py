"""Power limits as a factor of the sweep: set before an engine starts, put back whatever happens.

What a board's limit was is on disk before it is changed, so that an agent that starts after a crash puts it back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from joulemark.agents.meters.nvml import api
from joulemark.agents.meters.nvml.api import NvmlError
from joulemark.warehouse.errors import BadInput, MissingTool
from joulemark.warehouse.units import MW_PER_W


@dataclass(frozen=True)
class PowerLimits:
    """The limits that this node's agent has changed, one record per board in ``folder``.

    ``boot`` is the kernel's boot id: no limit outlives a reboot, so neither does its record.
    """

    folder: Path
    boot: str

    def set(self, uuids: tuple[str, ...], limit_w: int) -> None:
        """Set the limit of these boards and read it back. Where one refuses, all are as they were.

        Raises BadInput for a limit that a card does not take, MissingTool where this user may not set it.
        """
        try:
            with _library():
                for uuid in uuids:
                    _check(uuid, limit_w)
                for uuid in uuids:
                    self._set_one(uuid, limit_w * MW_PER_W)
        except (NvmlError, BadInput, MissingTool) as error:
            self.restore(uuids)
            if not isinstance(error, NvmlError):
                raise
            if error.forbidden:
                raise MissingTool(
                    f"power limit {limit_w} W: this user may not set it; run the agent as root, or set it beforehand "
                    f"with: sudo nvidia-smi -i {','.join(uuids)} -pl {limit_w}"
                ) from error
            raise BadInput(f"power limit {limit_w} W cannot be set: {error}; leave power_limit_w out") from error

    def restore(self, uuids: tuple[str, ...] | None = None) -> list[str]:
        """Put the changed limits of these boards back, None for all.

        Return a sentence for each that could not be, and stays recorded.
        """
        records = sorted(r for r in self.folder.glob("*.json") if uuids is None or r.stem in uuids)
        if not records:
            return []
        try:
            with _library():
                return [s for r in records if (s := self._restore_one(r)) is not None]
        except NvmlError as error:
            return [f"{len(records)} power limits could not be put back: {error}"]

    def _set_one(self, uuid: str, limit_mw: int) -> None:
        handle = api.by_uuid(uuid)
        before_mw = api.limit_mw(handle)
        if before_mw == limit_mw:
            return
        self._record(uuid, before_mw)
        api.set_limit_mw(handle, limit_mw)
        now_mw = api.limit_mw(handle)
        if now_mw != limit_mw:
            raise BadInput(
                f"power limit {limit_mw / MW_PER_W:g} W: {uuid} took {now_mw / MW_PER_W:g} W instead; ask for that"
            )

    def _record(self, uuid: str, limit_mw: int) -> None:
        path = self.folder / f"{uuid}.json"
        if path.exists():
            # An earlier restore failed: what is in force now is not what was there at first.
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".{uuid}"
        with draft.open("w") as file:
            json.dump({"device": uuid, "limit_mw": limit_mw, "boot": self.boot}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)

    def _restore_one(self, path: Path) -> str | None:
        record = json.loads(path.read_text())
        if record["boot"] == self.boot:
            try:
                handle = api.by_uuid(record["device"])
                if api.limit_mw(handle) != record["limit_mw"]:
                    api.set_limit_mw(handle, record["limit_mw"])
            except NvmlError as error:
                watts = record["limit_mw"] / MW_PER_W
                return (
                    f"the power limit of {record['device']} could not be put back: {error}; "
                    f"do it with: sudo nvidia-smi -i {record['device']} -pl {watts:g}"
                )
        path.unlink()
        return None


def _check(uuid: str, limit_w: int) -> None:
    """Raise BadInput where the card does not take the limit."""
    handle = api.by_uuid(uuid)
    if api.mig_instances(handle) is not None:
        raise BadInput(f"power limit {limit_w} W: {uuid} is shared by MIG instances; leave power_limit_w out")
    low_mw, high_mw = api.limit_range_mw(handle)
    if not low_mw <= limit_w * MW_PER_W <= high_mw:
        raise BadInput(
            f"power limit {limit_w} W: {api.name(handle)} ({uuid}) takes {low_mw / MW_PER_W:g} to "
            f"{high_mw / MW_PER_W:g} W"
        )


@contextmanager
def _library() -> Iterator[None]:
    api.open_library()
    try:
        yield
    finally:
        api.close_library()
