"""The engine host: brings a deployment up, proves it ready without making it work, reads back what it runs."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from joulemark.agents.engines.diagnose import diagnose, shown
from joulemark.agents.engines.oom_killer import kills_so_far
from joulemark.agents.engines.process import EngineProcess
from joulemark.agents.http import get
from joulemark.agents.secrets import Secrets, is_secret
from joulemark.warehouse.errors import EngineError
from joulemark.warehouse.schema.trial import EngineRecord
from joulemark.warehouse.store.layout import LOGS
from joulemark.workloads.cell import Deployment
from joulemark.workloads.engines.adapter import LAUNCHER, LOG, Engine, StartFacts

LAUNCHERS = {
    "llamacpp": Path(__file__).with_name("llamacpp_server.py"),
    "vllm": Path(__file__).with_name("vllm_cpu_rank.py"),
    "simulated": Path(__file__).parent.parent / "simulation" / "server.py",
}
"""Programs of ours that an engine's command line may ask for with ``{launcher}``."""
READY_POLL_S = 0.1
CRASHES = (signal.SIGSEGV, signal.SIGILL, signal.SIGFPE, signal.SIGBUS, signal.SIGABRT)
"""Signals that a program brings on itself. The same work would do so again; who was killed can be tried again."""
READ_BACK_BYTES = 4_000_000
"""How much of the engine's log is looked through for what it runs; it writes far less until it is ready."""


class StartError(EngineError):
    """An engine that was started did not come up: why, and ``record``, the engine as far as it came."""

    def __init__(self, reason: EngineError, record: EngineRecord) -> None:
        super().__init__(f"{reason} (log: {record.log})", reason.failure_class, reason.log)
        self.record = record


@dataclass
class EngineHost:
    """One running deployment."""

    engine: Engine
    deployment: Deployment
    facts: StartFacts
    process: EngineProcess
    record: EngineRecord
    oom_kills: int | None = None
    """How many processes the kernel had killed for want of memory when this one was started."""

    @property
    def base_url(self) -> str:
        """Where it answers."""
        return f"http://{self.facts.host}:{self.facts.port}"

    @classmethod
    def start(
        cls,
        engine: Engine,
        deployment: Deployment,
        facts: StartFacts,
        interpreter: Path,
        folder: Path,
        variables: dict[str, str],
        report: Callable[[str], None],
        timeout_s: float | None = None,
        cpus: tuple[int, ...] | None = None,
    ) -> EngineHost:
        """Start the engine and return when it is ready, within ``timeout_s`` (the engine's own where that is None).

        ``variables`` are set on top of the command's own (devices to use); ``cpus`` are those that it is bound to, None
        for any. A rank that does not serve is not waited for: the one that does is ready when all are. Raises
        EngineError where nothing could be started, StartError where it did not come up; nothing of the engine is left
        then.
        """
        command = engine.command(deployment, facts)
        argv = tuple(a.replace(LAUNCHER, str(LAUNCHERS.get(engine.name, ""))) for a in command.argv)
        environment = {**command.environment, **variables}
        secrets = Secrets.here(facts.api_key, *(v for k, v in environment.items() if is_secret(k)))
        oom_kills = kills_so_far()
        process = EngineProcess.start(
            (str(interpreter), *argv), environment, folder, engine.stop_grace_s, secrets=secrets, cpus=cpus
        )
        record = EngineRecord(
            name=engine.name,
            version=deployment.engine.version,
            start_id=process.start_id,
            argv=secrets.hide_in(argv),
            environment={k: "(not recorded)" if is_secret(k) else secrets.hide(v) for k, v in environment.items()},
            reported={},
            ready_s=None,
            log=_log_name(process),
        )
        if facts.span is not None and facts.span.rank > 0:
            return cls(engine, deployment, facts, process, record, oom_kills)
        try:
            ready_s = _wait_ready(engine, facts, process, report, timeout_s or engine.ready_timeout_s, oom_kills)
            reported = secrets.hide_in(_read_back(engine, facts, process))
            process.note_shared_memory()
        except BaseException as error:
            process.stop(0.0)
            if isinstance(error, EngineError):
                raise StartError(error, record) from error
            raise
        record = replace(record, reported=reported, ready_s=round(ready_s, 3))
        return cls(engine, deployment, facts, process, record, oom_kills)

    def metrics(self) -> str | None:
        """Return the engine's Prometheus page, None where it has none or does not answer."""
        if self.engine.api.metrics_path is None:
            return None
        body = get(self.base_url + self.engine.api.metrics_path, api_key=self.facts.api_key)
        return body.decode(errors="replace") if body is not None else None

    def death(self) -> EngineError:
        """Return the error for an engine that ended while it should run."""
        return _ended(self.engine, self.process, "in mid-trial", self.oom_kills, "engine_died")

    def stop(self) -> None:
        """End the engine and everything it started."""
        self.process.stop(self.engine.stop_grace_s)


def _wait_ready(
    engine: Engine,
    facts: StartFacts,
    process: EngineProcess,
    report: Callable[[str], None],
    timeout_s: float,
    oom_kills: int | None,
) -> float:
    begun = time.monotonic()
    while (elapsed := time.monotonic() - begun) < timeout_s:
        if process.wait(READY_POLL_S):
            raise _ended(engine, process, "while it started", oom_kills, "engine_failed")
        if get(f"http://{facts.host}:{facts.port}{engine.api.ready_path}", 2.0, facts.api_key) is not None:
            return elapsed
        # Nothing is measured yet, and who is killed now could not say what it had.
        process.note_shared_memory()
        report(f"{engine.name} is starting ({elapsed:.0f} s)")
    log = shown(process.log_tail(60))
    last = f"its last line: {log[-1]}" if log else "it wrote nothing"
    raise EngineError(f"{engine.name} was not ready after {timeout_s:.0f} s; {last}", "not_ready", log)


def _ended(engine: Engine, process: EngineProcess, when: str, oom_kills: int | None, otherwise: str) -> EngineError:
    """Return the error for an engine that ended by itself."""
    what = f"{engine.name} {process.how_it_ended()} {when}"
    log = process.log_tail()
    now = kills_so_far()
    if oom_kills is not None and now is not None and now > oom_kills:
        advice = "the kernel killed it for want of memory: fewer tokens or streams, a smaller model, or more memory"
        return EngineError(f"{what}; {advice}", "out_of_memory", shown(log))
    crashed = (process.end or {}).get("signal") in CRASHES
    return diagnose(what, log, engine.failures, "engine_crashed" if crashed else otherwise)


def _read_back(engine: Engine, facts: StartFacts, process: EngineProcess) -> dict[str, Any]:
    with process.log.open("rb") as log:
        documents: dict[str, Any] = {LOG: log.read(READ_BACK_BYTES).decode(errors="replace")}
    for path in engine.api.reported_paths:
        body = get(f"http://{facts.host}:{facts.port}{path}", api_key=facts.api_key)
        if body is not None:
            try:
                documents[path] = json.loads(body)
            except ValueError:
                documents[path] = body.decode(errors="replace")
    return engine.reported(documents)


def _log_name(process: EngineProcess) -> str:
    """Return where the engine's own output lies in the warehouse once it has ended."""
    return f"{LOGS}/{process.start_id}.log"
