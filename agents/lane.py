"""One engine at a time on a node, and the trials that it serves; a node has one lane or several."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

from joulemark.agents.client.job import Done, Progress
from joulemark.agents.cooling import IdleBand
from joulemark.agents.cores import Cores, ours
from joulemark.agents.devices import HeldDevices, endpoint_devices, held_devices, simulated_devices
from joulemark.agents.engines.endpoint import EndpointHost
from joulemark.agents.engines.host import EngineHost, StartError
from joulemark.agents.engines.logs import keep_logs
from joulemark.agents.engines.serving import Serving
from joulemark.agents.engines.start_time import start_timeout_s
from joulemark.agents.environments import ensure_environment, use_environment
from joulemark.agents.http import free_port
from joulemark.agents.load import Load
from joulemark.agents.meters.process_tree import ProcessTree
from joulemark.agents.models import prepare_model
from joulemark.agents.models.origin import origin
from joulemark.agents.node_things import NodeThings
from joulemark.agents.orders import (
    AgentProgress,
    Loaded,
    PartOrder,
    PartResult,
    RankEnd,
    StartOrder,
    StartResult,
    Target,
    TrialOrder,
    TrialResult,
)
from joulemark.agents.secrets import Secrets
from joulemark.agents.simulation.gpu_file import gpu_path
from joulemark.agents.trial import TrialRun, settle
from joulemark.warehouse.errors import BadInput, EngineError, MissingTool
from joulemark.warehouse.schema.identity import content_id
from joulemark.warehouse.schema.trial import EngineRecord, Interval, NodePart
from joulemark.workloads.cell import Deployment
from joulemark.workloads.engines.adapter import StartFacts
from joulemark.workloads.engines.catalogue import engine_named, environment_set
from joulemark.workloads.engines.endpoint import Endpoint
from joulemark.workloads.engines.simulated import GPUS_VARIABLE, Simulated
from joulemark.workloads.models.catalogue import stored_precision

RANK_POLL_S = 0.5


class Lane:
    """Runs at most one engine and one trial at a time."""

    def __init__(self, number: int, things: NodeThings) -> None:
        self.number, self.things = number, things
        self.doing = AgentProgress("idle")
        self._host: Serving | None = None
        self._part: NodePart | None = None
        self._held = HeldDevices(("cpu",))
        self._cores = Cores(ours(), None)
        self._limited: tuple[str, ...] = ()
        self._shared = False
        self._abandoned = threading.Event()
        self._band = IdleBand(lambda: things.power.sampler.watts)
        self._trial: TrialRun | None = None
        self._load: Load | None = None
        self._highest_rates: dict[str, float] = {}

    def prepare(self, order: StartOrder) -> StartResult:
        """Do all that comes before the engine's start, for nodes that are to start together."""
        return self._tried(order, self._make_ready)

    def start(self, order: StartOrder) -> StartResult:
        """Measure cold idle once, set the power limit, bring the engine up, measure loaded idle."""
        return self._tried(order, self._bring_up)

    def _tried(self, order: StartOrder, what: Callable[[StartOrder], EngineRecord | None]) -> StartResult:
        started_us = self.things.clock.now_us()
        self._held, self._shared = self._hold(order), order.shared
        self._abandoned.clear()
        engine: EngineRecord | None = None
        failure: EngineError | None = None
        try:
            engine = what(order)
        except StartError as error:
            engine, failure = error.record, error
        except EngineError as error:
            failure = error
        except MissingTool as error:
            failure = EngineError(str(error), "not_installed")
        except BadInput as error:
            failure = EngineError(str(error), "unsupported")
        result = StartResult(engine, self._held.uuids, started_us, self.things.clock.now_us())
        if failure is None:
            return result
        self.stop()
        if engine is not None:
            self._keep_log(engine)
        return replace(result, failure_class=failure.failure_class, error=str(failure), engine_log=failure.log)

    def _hold(self, order: StartOrder) -> HeldDevices:
        if order.deployment.engine.name == Simulated.name:
            return HeldDevices(tuple(simulated_devices(self.things.config.node, order.deployment, order.devices)))
        return held_devices(order.devices, self.things.power.sampler.meters.get("nvml", {}))

    def _make_ready(self, order: StartOrder) -> None:
        self._claim(order.deployment)
        self._prepare(order.deployment)

    def _claim(self, deployment: Deployment) -> None:
        if deployment.engine.name != Simulated.name:
            # What is simulated takes nothing of the machine that is measured.
            self.things.claim(self.number, self._say)

    def _bring_up(self, order: StartOrder) -> EngineRecord:
        deployment = order.deployment
        self._claim(deployment)
        if deployment.engine.name == Endpoint.name:
            return self._reach(order)
        interpreter, model_path = self._prepare(deployment)
        self.things.memory.wait_returned(self._held.uuids, self._say)
        # What a node takes without an engine is measured once; of GPUs beside others' engines, once for these GPUs.
        cold = self._held.uuids if order.shared else ()
        if cold not in self.things.cold_idle:
            self.things.cold_idle[cold] = self._idle("measuring idle power without an engine", order.idle_s)
        if deployment.power_limit_w is not None and deployment.engine.name != Simulated.name:
            self._limit(deployment.power_limit_w)
        host = self._host = self._start(order, interpreter, model_path)
        own = deployment.engine.name == Simulated.name or deployment.engine.named in self.things.config.environments
        host.record = replace(
            host.record,
            requirement_set=None if own else _set_of(deployment),
            weights=origin(deployment.model, model_path),
        )
        return self._ready(order, self.things.cold_idle[cold])

    def _reach(self, order: StartOrder) -> EngineRecord:
        """Use a server that runs already: there is no idle power without it."""
        place = self.things.config.endpoints[order.deployment.engine.version]
        host = self._host = EndpointHost.start(order.deployment, place, self._say)
        nvml = self.things.power.sampler.meters.get("nvml", {})
        self._held = endpoint_devices(place, host.process.pid, order.deployment, nvml)
        return self._ready(order, None)

    def _ready(self, order: StartOrder, cold_idle: Interval | None) -> EngineRecord:
        assert self._host is not None
        deployment, pid = order.deployment, self._host.process.pid
        self.things.watch(self.number, pid)
        self._part = NodePart(
            self.things.config.node,
            self.things.clock.boot,
            self._held.uuids,
            deployment.accelerator,
            cold_idle=cold_idle,
        )
        if order.span is not None and order.span.rank > 0:
            # When it is loaded and idle is for the serving rank's node to say.
            self.doing = AgentProgress(f"a rank of {deployment.engine.name} runs here")
            return self._host.record
        roots = (pid,) if pid is not None else ()
        tree = ProcessTree()
        tree.watch(roots)
        loaded_idle = self._idle(f"measuring idle power of {deployment.engine.name}", order.idle_s, self._band)
        busy_s = tree.cpu_ns() / 1e9
        busy_cpus = round(busy_s / loaded_idle.seconds, 4) if roots and loaded_idle.seconds else None
        self._part = replace(self._part, loaded_idle=loaded_idle, loaded_idle_cpus=busy_cpus)
        return self._host.record

    def run(self, order: TrialOrder) -> TrialResult:
        """Run one trial on the running engine, with its load from here, and seal its traces."""
        target = self.begin_trial(order)
        self.doing = AgentProgress("starting the load")
        self._load = Load(self.things, order, target, self.things.clock, self._note, self._cores.client)
        if self._is_over:
            self.end_load()
        try:
            return self.end_trial(self._load.run())
        finally:
            self._load = None
            self.drop_trial()

    def begin_trial(self, order: TrialOrder) -> Target:
        """Begin a trial on the running engine and return where its load is to go."""
        assert self._host is not None
        self._cool(order)
        things, facts, api = self.things, self._host.facts, self._host.engine.api
        self._trial = TrialRun(
            order, self._host, things.clock, things.config.node, things.power.spool, things.warehouse
        )
        self._trial.begin()
        rate = self._highest_rates.get(_asked(order))
        return Target(self._host.base_url, facts.served_name, api, facts.api_key, rate)

    @property
    def trial(self) -> TrialOrder:
        """The trial that has begun."""
        assert self._trial is not None
        return self._trial.order

    def end_trial(self, loaded: Loaded) -> TrialResult:
        """End the trial whose load is over, and seal its traces."""
        assert self._trial is not None
        assert self._part is not None
        trial, self._trial = self._trial, None
        trial.interrupted = trial.interrupted or self._is_over
        # The highest rate is found once for each engine start and workload, whatever the fractions of it.
        rate = loaded.said.highest_rate_per_s if isinstance(loaded.said, Done) else None
        if rate is not None:
            self._highest_rates[_asked(trial.order)] = rate
        result = trial.end(loaded, self._part, self.things.power.seal)
        self.doing = AgentProgress("idle")
        return replace(result, reasons=(*result.reasons, *self._reasons))

    def drop_trial(self) -> None:
        """Let go of a trial of which nothing came, if there is one."""
        trial, self._trial = self._trial, None
        if trial is not None:
            trial.end_scraping()
        self.doing = AgentProgress("idle")

    def end_load(self) -> None:
        """End the load that runs here, if one does, and have its trial say that it was ended."""
        if self._trial is not None:
            self._trial.interrupted = True
        if self._load is not None:
            self._load.interrupt()

    @property
    def _is_over(self) -> bool:
        return self.things.interrupted.is_set() or self._abandoned.is_set()

    def part(self, order: PartOrder) -> PartResult:
        """Seal this node's part of a trial that another node leads."""
        assert self._part is not None
        part = replace(self._part, window=order.window, loaded_idle=order.loaded_idle)
        return PartResult(part, tuple(self.things.power.seal(order.since_us)), self._reasons)

    def rank_ended(self) -> RankEnd | None:
        """Wait until the rank that runs here has ended by itself, and say how; None once it was stopped."""
        host = self._host
        while host is not None and host is self._host:
            if host.process.wait(RANK_POLL_S) and host is self._host:
                death = host.death()
                return RankEnd(death.failure_class, str(death), death.log)
        return None

    def abandon(self) -> None:
        """End the start or the trial that runs: another node's part of its deployment is gone."""
        self._abandoned.set()
        self.end_load()

    def stop(self) -> None:
        """End the engine, if one runs, keep its log in the warehouse, put power limits back, leave the machine."""
        host, self._host = self._host, None
        self._highest_rates.clear()
        try:
            if host is not None:
                self._stop(host)
            self._unlimit()
        finally:
            self.things.leave(self.number)

    def _stop(self, host: Serving) -> None:
        self.doing = AgentProgress(f"stopping {host.engine.name}")
        self.things.watch(self.number, None)
        host.stop()
        self._keep_log(host.record)
        self.doing = AgentProgress("idle")

    @property
    def _reasons(self) -> tuple[str, ...]:
        # Sockets, memory and plug are everybody's where other engines may run beside this one.
        return (*self._held.reasons, *(("node_shared",) if self._shared else ()))

    def _prepare(self, deployment: Deployment) -> tuple[Path, str]:
        name = deployment.engine.name
        if name == Simulated.name:
            # It is a program of ours, and has no weights to load.
            return Path(sys.executable), deployment.model.name
        given = self.things.config.environments.get(deployment.engine.named)
        interpreter = (
            use_environment(given) if given else ensure_environment(_set_of(deployment), self.things.home, self._say)
        )
        self._say(f"preparing {deployment.model.name} in {deployment.quantization}")
        weights_format, precision = engine_named(name).weights_format, stored_precision(deployment)
        return interpreter, str(prepare_model(deployment.model, precision, weights_format, self.things.home))

    def _start(self, order: StartOrder, interpreter: Path, model_path: str) -> EngineHost:
        deployment = order.deployment
        cores = self._cores = Cores.of(ours(), ranks=deployment.parallel.devices_per_node, on_cpu=deployment.on_cpu)
        facts = StartFacts(
            model_path=model_path,
            port=free_port(),
            slots=order.slots,
            context_tokens=order.context_tokens,
            threads=max(1, round(len(cores.engine) * self._share_of_node(order))),
            cpus=cores.engine,
            api_key=self._new_key() if engine_named(deployment.engine.name).api.takes_key else None,
            host=order.listen or StartFacts.host,
            span=order.span,
        )
        # CUDA's own order of devices may differ from NVML's, which is that of the PCI bus.
        variables = {"CUDA_VISIBLE_DEVICES": ",".join(order.devices), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        if deployment.engine.name == Simulated.name:
            indexes = simulated_devices(self.things.config.node, deployment, order.devices).values()
            files = (str(gpu_path(self.things.folder, deployment.accelerator, index)) for index in indexes)
            variables = {GPUS_VARIABLE: ":".join(files)}
        self._say(f"starting {deployment.engine.name} with {deployment.model.name} in {deployment.quantization}")
        engine = engine_named(deployment.engine.name)
        timeout_s = start_timeout_s(engine.ready_timeout_s, model_path, order.weight_bytes)
        return EngineHost.start(
            engine,
            deployment,
            facts,
            interpreter,
            self.things.folder,
            variables,
            self._say,
            timeout_s,
            cpus=cores.fenced,
        )

    def _share_of_node(self, order: StartOrder) -> float:
        """Return the share of the node's CPUs that is for this engine: its share of the GPUs where others have some."""
        boards = len(self.things.power.sampler.meters.get("nvml", {}).get("boards", ()))  # type: ignore[arg-type]
        return len(self._held.uuids) / boards if order.shared and boards else 1.0

    def _new_key(self) -> str:
        """Return a key for one start: others reach the engine too, users of the node where it listens on loopback."""
        key = token_hex(16)
        self.things.keys.append(key)
        return key

    def _keep_log(self, record: EngineRecord) -> None:
        if record.log:
            keep_logs(self.things.folder, self.things.warehouse, Secrets.here(*self.things.keys), record.log)

    def _limit(self, limit_w: int) -> None:
        try:
            self._limited = self._held.uuids
            self.things.limits.set(self._limited, limit_w)
        except MissingTool as error:
            # Nothing to install: this user may not do it on these boards.
            raise EngineError(str(error), "unsupported") from error

    def _unlimit(self) -> None:
        if self._limited:
            self.things.limits.restore(self._limited)
            self._limited = ()

    def _cool(self, order: TrialOrder) -> None:
        """Wait until the trial before has left no heat, where what the node takes is this engine's alone."""
        if not self._shared and not self.things.interrupted.is_set():
            with suppress(EngineError):
                self._band.wait_cool(order.cell.window.window_s, self._say, self.things.interrupted.wait)

    def _idle(self, why: str, seconds: float, band: IdleBand | None = None) -> Interval:
        self._say(why)
        start_us = self.things.clock.now_us()
        if band is None:
            self.things.interrupted.wait(seconds)
        else:
            band.learn(seconds, self.things.interrupted.wait)
        self._say(why)
        end_us = self.things.clock.now_us()
        settle(self.things.power.sampler.settle_s)
        return Interval(start_us, end_us)

    def _say(self, doing: str) -> None:
        """Note what is being done. Raises EngineError where it is to end now."""
        self.doing = AgentProgress(doing)
        if self.things.interrupted.is_set():
            raise EngineError("the sweep was stopped", "interrupted")
        if self._abandoned.is_set():
            raise EngineError("another node's part of it ended", "engine_died")

    def _note(self, progress: Progress) -> None:
        left = f", {progress.phase_left_s:.0f} s left" if progress.phase_left_s else ""
        self.doing = AgentProgress(f"{progress.phase}{left}", tokens_per_s=progress.tokens_per_s)


def _asked(order: TrialOrder) -> str:
    return content_id(replace(order.cell.workload, load=None).factors)


def _set_of(deployment: Deployment) -> str:
    """Return the pinned set that the deployment's engine is installed from, unless the user named an environment."""
    return environment_set(deployment.engine.name, deployment.engine.version, deployment.on_cpu)
