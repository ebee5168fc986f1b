"""The node agent: the control point of one node. A plain class; the orchestrator makes a Ray actor of it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

from joulemark.agents.client.job import Progress
from joulemark.agents.clock import NodeClock
from joulemark.agents.devices import HeldDevices, endpoint_devices, held_devices
from joulemark.agents.engines.endpoint import EndpointHost
from joulemark.agents.engines.gpu_memory import GpuMemory
from joulemark.agents.engines.host import EngineHost, StartError
from joulemark.agents.engines.leftovers import end_leftovers
from joulemark.agents.engines.serving import Serving
from joulemark.agents.engines.start_time import start_timeout_s
from joulemark.agents.environments import ensure_environment, use_environment
from joulemark.agents.home import joulemark_home
from joulemark.agents.http import free_port
from joulemark.agents.locks import exclusive
from joulemark.agents.machine import Machine
from joulemark.agents.meters.process_tree import ProcessTree
from joulemark.agents.models import prepare_model
from joulemark.agents.models.origin import origin
from joulemark.agents.node_facts import node_facts, node_row
from joulemark.agents.orders import (
    AgentConfig,
    AgentProgress,
    NodeFacts,
    StartOrder,
    StartResult,
    TrialOrder,
    TrialResult,
)
from joulemark.agents.power import PowerTrace
from joulemark.agents.power_limits import PowerLimits
from joulemark.agents.secrets import Secrets
from joulemark.agents.trial import TrialRun, settle
from joulemark.warehouse.errors import BadInput, EngineError, MissingTool
from joulemark.warehouse.schema.identity import content_id
from joulemark.warehouse.schema.nodes import NODES
from joulemark.warehouse.schema.trial import EngineRecord, Interval, NodePart
from joulemark.warehouse.store.layout import LOGS, segment_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import write_table
from joulemark.workloads.cell import Deployment
from joulemark.workloads.engines.adapter import StartFacts
from joulemark.workloads.engines.catalogue import engine_named, environment_set
from joulemark.workloads.engines.endpoint import Endpoint
from joulemark.workloads.models.catalogue import stored_precision

LEASE_CHECK_S = 1.0


class NodeAgent:
    """Samples power from its start to its end, runs at most one engine and one trial at a time.

    There is one per node: it waits for the lock of one that is just ending, and then ends what that one left.
    """

    def __init__(self, config: AgentConfig, on_lease_end: Callable[[], None] = lambda: None) -> None:
        self.config = config
        self._on_lease_end = on_lease_end
        self.home = joulemark_home()
        self.warehouse = Warehouse.at(config.warehouse)
        self.folder = self.home / "nodes" / config.node
        self._lock = ExitStack()
        self._waiting = threading.Event()
        try:
            self.clock = NodeClock.of_this_node()
            self._lock.enter_context(exclusive(self.folder / "agent.lock", self._waiting.set))
        except PermissionError as error:
            raise MissingTool(
                f"{error.filename or self.home} may not be written; set JOULEMARK_HOME to a folder of your own"
            ) from error
        self.ended_leftovers = end_leftovers(self.folder / "starts")
        self.limits = PowerLimits(self.folder / "limits", self.clock.boot)
        self._limit_warnings = self.limits.restore()
        self._memory = GpuMemory()
        self._machine = Machine()
        self._keys: list[str] = []
        self.power = PowerTrace.start(config, self.folder, self.warehouse)
        self._doing = AgentProgress("idle")
        self._host: Serving | None = None
        self._part: NodePart | None = None
        self._held = HeldDevices(("cpu",))
        self._cold_idle: Interval | None = None
        self._trial: TrialRun | None = None
        self._highest_rates: dict[str, float] = {}
        self._renewed = time.monotonic()
        self._closed = threading.Event()
        self._interrupted = threading.Event()
        threading.Thread(target=self._watch_lease, name="lease", daemon=True).start()

    def describe(self) -> NodeFacts:
        """Return the node's facts, and record them in the warehouse."""
        sampler = self.power.sampler
        warnings = (*sampler.wait_for_meters(), *self._limit_warnings)
        facts = node_facts(self.config.node, self.clock, sampler.meters, warnings, len(self.ended_leftovers))
        table = NODES.arrow.empty_table().from_pylist([node_row(facts)], schema=NODES.arrow)
        write_table(self.warehouse, NODES, segment_file("nodes", self.config.node, facts.boot), table)
        return replace(facts, waited=self._waiting.is_set())

    def renew(self) -> None:
        """Renew the driver's lease: without it the agent ends what it runs."""
        self._renewed = time.monotonic()

    def progress(self) -> AgentProgress:
        """Return what the agent is doing now."""
        return replace(self._doing, watts=self.power.sampler.watts)

    def start_engine(self, order: StartOrder) -> StartResult:
        """Measure cold idle once, set the power limit, bring the engine up, measure loaded idle."""
        started_us = self.clock.now_us()
        self._held = held_devices(order.devices, self.power.sampler.meters.get("nvml", {}))
        engine: EngineRecord | None = None
        failure: EngineError | None = None
        try:
            engine = self._bring_up(order)
        except StartError as error:
            engine, failure = error.record, error
        except EngineError as error:
            failure = error
        except MissingTool as error:
            failure = EngineError(str(error), "not_installed")
        except BadInput as error:
            failure = EngineError(str(error), "unsupported")
        result = StartResult(engine, self._held.uuids, started_us, self.clock.now_us())
        if failure is None:
            return result
        self.stop_engine()
        self._keep_logs()
        return replace(result, failure_class=failure.failure_class, error=str(failure), engine_log=failure.log)

    def _bring_up(self, order: StartOrder) -> EngineRecord:
        deployment = order.deployment
        self._machine.claim(self._say)
        if deployment.engine.name == Endpoint.name:
            return self._reach(order)
        interpreter, model_path = self._prepare(deployment)
        self._memory.wait_returned(self._held.uuids, self._say)
        if self._cold_idle is None:
            self._cold_idle = self._idle("measuring idle power without an engine", order.idle_s)
        if deployment.power_limit_w is not None:
            self._limit(deployment.power_limit_w)
        host = self._host = self._start(order, interpreter, model_path)
        own = deployment.engine.named in self.config.environments
        host.record = replace(
            host.record,
            requirement_set=None if own else _set_of(deployment),
            weights=origin(deployment.model, model_path),
        )
        return self._ready(order, self._cold_idle)

    def _reach(self, order: StartOrder) -> EngineRecord:
        """Use a server that runs already: there is no idle power without it."""
        place = self.config.endpoints[order.deployment.engine.version]
        host = self._host = EndpointHost.start(order.deployment, place, self._say)
        nvml = self.power.sampler.meters.get("nvml", {})
        self._held = endpoint_devices(place, host.process.pid, order.deployment, nvml)
        return self._ready(order, None)

    def _ready(self, order: StartOrder, cold_idle: Interval | None) -> EngineRecord:
        assert self._host is not None
        deployment, pid = order.deployment, self._host.process.pid
        roots = (pid,) if pid is not None else ()
        self.power.sampler.watch(*roots)
        tree = ProcessTree()
        tree.watch(roots)
        loaded_idle = self._idle(f"measuring idle power of {deployment.engine.name}", order.idle_s)
        busy_s = tree.cpu_ns() / 1e9
        self._part = NodePart(
            node=self.config.node,
            boot=self.clock.boot,
            devices=self._held.uuids,
            accelerator=deployment.accelerator,
            cold_idle=cold_idle,
            loaded_idle=loaded_idle,
            loaded_idle_cpus=round(busy_s / loaded_idle.seconds, 4) if roots and loaded_idle.seconds else None,
        )
        return self._host.record

    def run_trial(self, order: TrialOrder) -> TrialResult:
        """Run one trial on the running engine and seal its traces."""
        assert self._host is not None
        assert self._part is not None
        self._doing = AgentProgress("starting the load")
        # The highest rate is found once for each engine start and workload, whatever the fractions of it.
        asked = content_id(replace(order.cell.workload, load=None).factors)
        self._trial = TrialRun(
            order,
            self._host,
            self.clock,
            self.config.node,
            self.power.spool,
            self.warehouse,
            self._note,
            self._highest_rates.get(asked),
        )
        if self._interrupted.is_set():
            self._trial.interrupt()
        try:
            result = self._trial.run(self._part, self.power.seal)
            if self._trial.highest_rate_per_s is not None:
                self._highest_rates[asked] = self._trial.highest_rate_per_s
            return replace(result, reasons=(*result.reasons, *self._held.reasons))
        finally:
            self._trial = None
            self._doing = AgentProgress("idle")

    def stop_engine(self) -> None:
        """End the engine, if one runs, keep its log in the warehouse, put power limits back, leave the machine."""
        host, self._host = self._host, None
        self._highest_rates.clear()
        try:
            if host is not None:
                self._stop(host)
            self._unlimit()
        finally:
            self._machine.release()

    def _stop(self, host: Serving) -> None:
        self._doing = AgentProgress(f"stopping {host.engine.name}")
        self.power.sampler.watch()
        host.stop()
        self._keep_logs()
        self._doing = AgentProgress("idle")

    def interrupt(self) -> None:
        """End what runs now: an installation, an engine's start or a trial."""
        self._interrupted.set()
        if self._trial is not None:
            self._trial.interrupt()

    def close(self) -> None:
        """End the engine and the sampler; what was sampled is sealed."""
        self._closed.set()
        self.interrupt()
        self.stop_engine()
        self.power.close()
        self._lock.close()

    def _prepare(self, deployment: Deployment) -> tuple[Path, str]:
        name = deployment.engine.name
        given = self.config.environments.get(deployment.engine.named)
        interpreter = use_environment(given) if given else ensure_environment(_set_of(deployment), self.home, self._say)
        self._say(f"preparing {deployment.model.name} in {deployment.quantization}")
        weights_format, precision = engine_named(name).weights_format, stored_precision(deployment)
        return interpreter, str(prepare_model(deployment.model, precision, weights_format, self.home))

    def _start(self, order: StartOrder, interpreter: Path, model_path: str) -> EngineHost:
        deployment = order.deployment
        cpus = tuple(sorted(os.sched_getaffinity(0)))
        # One logical CPU stays free for the load client and the sampler, where each rank of the engine still has one.
        spare = 1 if len(cpus) > deployment.parallel.devices else 0
        facts = StartFacts(
            model_path=model_path,
            port=free_port(),
            slots=order.slots,
            context_tokens=order.context_tokens,
            threads=max(1, len(cpus) - 1),
            cpus=cpus[spare:],
            api_key=self._new_key() if engine_named(deployment.engine.name).api.takes_key else None,
        )
        # CUDA's own order of devices may differ from NVML's, which is that of the PCI bus.
        variables = {"CUDA_VISIBLE_DEVICES": ",".join(order.devices), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        self._say(f"starting {deployment.engine.name} with {deployment.model.name} in {deployment.quantization}")
        engine = engine_named(deployment.engine.name)
        timeout_s = start_timeout_s(engine.ready_timeout_s, model_path, order.weight_bytes)
        return EngineHost.start(engine, deployment, facts, interpreter, self.folder, variables, self._say, timeout_s)

    def _new_key(self) -> str:
        """Return a key for one start: the engine listens on loopback, and other users of the node do too."""
        key = token_hex(16)
        self._keys.append(key)
        return key

    def _keep_logs(self) -> None:
        """Move the engines' own output into the warehouse, without what is secret."""
        secrets = Secrets.here(*self._keys)
        for log in (self.folder / LOGS).glob("*.log"):
            text = secrets.hide(log.read_bytes().decode(errors="replace"))
            self.warehouse.write(f"{LOGS}/{log.name}", text.encode())
            log.unlink()

    def _limit(self, limit_w: int) -> None:
        try:
            self.limits.set(self._held.uuids, limit_w)
        except MissingTool as error:
            # Nothing to install: this user may not do it on these boards.
            raise EngineError(str(error), "unsupported") from error

    def _unlimit(self) -> None:
        self._limit_warnings = self.limits.restore()

    def _idle(self, why: str, seconds: float) -> Interval:
        self._say(why)
        start_us = self.clock.now_us()
        self._interrupted.wait(seconds)
        self._say(why)
        end_us = self.clock.now_us()
        settle(self.power.sampler.settle_s)
        return Interval(start_us, end_us)

    def _say(self, doing: str) -> None:
        """Note what is being done. Raises EngineError where it is to end now."""
        self._doing = AgentProgress(doing)
        if self._interrupted.is_set():
            raise EngineError("the sweep was stopped", "interrupted")

    def _note(self, progress: Progress) -> None:
        left = f", {progress.phase_left_s:.0f} s left" if progress.phase_left_s else ""
        self._doing = AgentProgress(f"{progress.phase}{left}", tokens_per_s=progress.tokens_per_s)

    def _watch_lease(self) -> None:
        while not self._closed.wait(LEASE_CHECK_S):
            if time.monotonic() - self._renewed > self.config.lease_s:
                self.close()
                self._on_lease_end()
                return


def _set_of(deployment: Deployment) -> str:
    return environment_set(deployment.engine.name, deployment.engine.version, deployment.on_cpu)
