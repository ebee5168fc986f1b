"""One engine process tree, seen from the agent: start it under a keeper, see whether it lives, end it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from joulemark.agents.engines.leftovers import MARK, StartRecord
from joulemark.agents.engines.scratch import make_scratch, scratch_variables, shared_memory_of
from joulemark.agents.secrets import Secrets
from joulemark.warehouse.errors import EngineError

KEEPER = Path(__file__).with_name("keeper.py")
STOP_MARGIN_S = 30.0
LOG_TAIL_BYTES = 256 * 1024
NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONSTARTUP", "VIRTUAL_ENV")


@dataclass
class EngineProcess:
    """A started engine. ``end`` is what the keeper said about its end, None while it runs.

    ``secrets`` are struck out of its output wherever that is quoted.
    """

    start_id: str
    pid: int
    log: Path
    secrets: Secrets
    _keeper: subprocess.Popen[bytes]
    _record: StartRecord
    end: dict[str, Any] | None = None
    _over: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        variables: Mapping[str, str],
        folder: Path,
        grace_s: float,
        start_id: str | None = None,
        secrets: Secrets | None = None,
        cpus: Sequence[int] | None = None,
    ) -> EngineProcess:
        """Start ``argv`` with ``variables`` on top of the inherited environment; its log goes below ``folder``.

        It has a folder of its own for temporary files, which goes with it, and is bound to ``cpus``, None for any.
        Raises EngineError where the program cannot be started at all.
        """
        start_id = start_id or uuid.uuid4().hex[:12]
        log = folder / "logs" / f"{start_id}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        scratch = make_scratch(start_id)
        # Engines print what they were given, and until it is stored this is the raw output.
        os.close(os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
        inherited = {k: v for k, v in os.environ.items() if k not in NOT_INHERITED and not k.startswith("RAY_")}
        order = {
            "argv": list(argv),
            "environment": {**inherited, **scratch_variables(scratch), **variables, MARK: start_id},
            "log": str(log),
            "grace_s": grace_s,
            "cpus": list(cpus) if cpus is not None else None,
        }
        keeper = subprocess.Popen(
            [sys.executable, "-S", "-E", str(KEEPER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        record = StartRecord.new(folder / "starts", start_id, keeper.pid, scratch)
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        keeper.stdin.write(json.dumps(order).encode() + b"\n")
        keeper.stdin.flush()
        said = json.loads(keeper.stdout.readline() or b"{}")
        if said.get("what") != "started":
            keeper.wait()
            record.end()
            raise EngineError(f"engine could not be started: {said.get('error', 'its keeper died')}", "engine_failed")
        record.note_main(said["pid"])
        process = cls(start_id, said["pid"], log, secrets or Secrets.here(), keeper, record)
        threading.Thread(target=process._listen, name=f"keeper-{start_id}", daemon=True).start()
        return process

    @property
    def alive(self) -> bool:
        """Whether the engine's main process runs."""
        return not self._over.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the engine has ended; return whether it has."""
        return self._over.wait(timeout_s)

    def stop(self, grace_s: float) -> None:
        """End the tree: SIGTERM, ``grace_s``, then the whole tree is killed.

        Returns when nothing is left of it: no process, no temporary file and no shared memory.
        """
        self.note_shared_memory()
        if self._keeper.stdin and not self._keeper.stdin.closed:
            self._keeper.stdin.close()
        if not self._over.wait(grace_s + STOP_MARGIN_S):
            self._keeper.kill()
            self._over.wait(STOP_MARGIN_S)
        self._keeper.wait()
        # With the keeper killed, only the main process ended with it; the rest has its mark.
        self._record.note(set((self.end or {}).get("shared_memory", ())))
        self._record.end()

    def note_shared_memory(self) -> None:
        """Write down what shared memory the tree has now, so that it can be removed whoever is killed."""
        try:
            tree = [p.pid for p in psutil.Process(self._keeper.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        self._record.note(shared_memory_of(tree))

    def how_it_ended(self) -> str:
        """Return a phrase such as ``ended by signal 9``."""
        end = self.end or {}
        if end.get("signal"):
            return f"ended by signal {end['signal']}"
        return f"ended with exit code {end['code']}" if end.get("code") is not None else "vanished with its keeper"

    def log_tail(self, lines: int = 2000) -> list[str]:
        """Return the last lines of the engine's own log."""
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            text = file.read().decode(errors="replace")
        return self.secrets.hide(text).splitlines()[-lines:]

    def _listen(self) -> None:
        assert self._keeper.stdout is not None
        for said in self._keeper.stdout:
            report = json.loads(said)
            if report["what"] == "ended":
                self.end = report
            elif report["what"] == "shared_memory":
                self._record.note(set(report["names"]))
        self._over.set()
