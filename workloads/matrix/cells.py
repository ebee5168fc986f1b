"""From a point to its cell: defaults filled in, models resolved, versions exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from joulemark.warehouse.errors import BadInput, UnknownModel
from joulemark.workloads.cell import Cell, Deployment, EngineRef, ModelRef, Parallel, Scalar, WindowPolicy
from joulemark.workloads.compatibility import Place
from joulemark.workloads.engines.catalogue import (
    KnownEngine,
    default_version,
    engine_named,
    has_cpu_build,
    online_method,
    refusal,
)
from joulemark.workloads.engines.endpoint import Endpoint, EndpointPlace
from joulemark.workloads.matrix.files import Files
from joulemark.workloads.matrix.points import Point
from joulemark.workloads.matrix.workload import Asked, make_workload
from joulemark.workloads.models.catalogue import catalogue, needs_no_hub
from joulemark.workloads.models.checkpoint import precision_of_config
from joulemark.workloads.models.dummy import dummy_precisions
from joulemark.workloads.models.facts import ModelFacts
from joulemark.workloads.models.generated import generated_quantizations
from joulemark.workloads.models.resolve import local_config, resolve_model
from joulemark.workloads.precision import UNQUANTIZED, is_a, quantizations_of
from joulemark.workloads.sweep.engine_fields import environment_path
from joulemark.workloads.sweep.model import ArgValue, Axis, EngineAsk, EngineSettings, ModelAsk, Sweep
from joulemark.workloads.sweep.values import LINK, LOAD_AXES
from joulemark.workloads.sweep.workload_model import WorkloadAsk

DEFAULT_ENGINE = "llamacpp"


@dataclass(frozen=True)
class Candidate:
    """A point as a cell.

    ``refused`` says why it cannot be asked for, or is None; ``model`` is the model before a checkpoint in the
    precision asked for took its place.
    """

    cell: Cell
    model: ModelRef
    facts: ModelFacts | None
    refused: str | None
    asked: Asked
    """The workload as the sweep file has it."""
    own_environment: bool = False
    """Whether the sweep names an environment for its engine."""


class CellMaker:
    """Makes cells of one sweep; remembers the models that it has resolved."""

    def __init__(self, sweep: Sweep, place: Place) -> None:
        self.sweep = sweep
        self.place = place
        self.files = Files(sweep.folder)
        self._places = {a.name: a.where for a in sweep.axes} | {k: a.where for a in sweep.axes for k in _linked(a)}
        self.endpoints: dict[str, EndpointPlace] = {}
        """Where the endpoints are, by the version that is declared of them."""
        self.environments: dict[str, str] = {}
        """Environments of the user's by engine and version (``EngineRef.named``)."""
        self._models: dict[ModelAsk, tuple[ModelRef, ModelFacts | None]] = {}

    def model(self, ask: ModelAsk) -> tuple[ModelRef, ModelFacts | None]:
        """Return the model that ``ask`` names. Raises UnknownModel with the place in the sweep file."""
        if ask not in self._models:
            try:
                reference, facts = resolve_model(ask.name, self.sweep.folder)
            except UnknownModel as error:
                raise UnknownModel(f"{ask.where}: {error}") from None
            if ask.revision is not None:
                reference = replace(reference, revision=ask.revision)
            if ask.weights == "dummy":
                reference = replace(reference, weights="dummy")
            self._models[ask] = reference, facts
        return self._models[ask]

    def accelerator(self, engine: KnownEngine, asked: str) -> str:
        """Return what ``asked`` stands for: ``any`` is the CPU for an engine that knows nothing else."""
        if asked != "any":
            return asked
        return "cpu" if engine.weights_format == "gguf" else self.place.any_accelerator

    def candidate(self, point: Point) -> Candidate:
        """Return the cell of ``point``, and why it cannot be asked for where that is so."""
        model, facts = self.model(point["model"])
        engine_ask: EngineAsk = point.get("engine", EngineAsk(DEFAULT_ENGINE))
        engine = engine_named(engine_ask.name)
        accelerator = self.accelerator(engine, point.get("accelerator", "any"))
        on_cpu = accelerator == "cpu"
        quantization = point.get("quantization") or default_quantization(model, engine.weights_format)
        settings = self.sweep.engines.get(engine.name, EngineSettings())
        version = engine_ask.version or settings.version or default_version(engine.name, on_cpu)
        args = _engine_args(engine, settings.args, engine_ask.args, point)
        if engine.name == Endpoint.name:
            self._keep_place(version, engine_ask.place or settings.place)
        own_environment = self._keep_environment(engine_ask, settings, EngineRef(engine.name, version).named)
        weights, refused = model, None
        # What an endpoint has loaded is as it is: the sweep file declares it.
        if engine.weights_format != "any":
            weights, args, refused = _weights(model, quantization, engine, args)
        kv_type = point.get("kv_type", "auto")
        deployment = Deployment(
            model=weights,
            quantization=quantization,
            kv_type=engine.default_kv_type if kv_type == "auto" else kv_type,
            engine=EngineRef(engine.name, version, args),
            accelerator=accelerator,
            parallel=point.get("parallel", Parallel()),
            power_limit_w=point.get("power_limit_w"),
        )
        measure = self.sweep.measure
        window = WindowPolicy(measure.warmup_s, measure.window_s, measure.client)
        asked = self._asked(point)
        cell = Cell(deployment, make_workload(asked, window, self.files), window)
        if on_cpu and not own_environment and not has_cpu_build(engine.name):
            refused = (
                f"{engine.name} has no CPU build that joulemark could install; "
                f"name one of your own: engines: {{{engine.name}: {{environment: PATH}}}}"
            )
        return Candidate(cell, model, facts, refusal(deployment) or refused, asked, own_environment)

    def _keep_environment(self, ask: EngineAsk, settings: EngineSettings, engine: str) -> bool:
        """Note where the user has this engine; return whether there is such a place. Raises BadInput for two."""
        own = environment_path(ask.environment, self.sweep.folder) if ask.environment else None
        environment = own or settings.environment
        if environment is None:
            return False
        if self.environments.setdefault(engine, environment) != environment:
            raise BadInput(
                f"{self.sweep.source}: {engine} has two environments, {self.environments[engine]} and {environment}: "
                "give each the exact version that it holds"
            )
        return True

    def _keep_place(self, version: str, place: EndpointPlace | None) -> None:
        """Note where the endpoint of this version is. Raises BadInput where that is not said, or is two places."""
        if place is None:
            raise BadInput(
                f"{self.sweep.source}: the engine endpoint needs a url: write engines: {{endpoint: http://HOST:PORT}}, "
                "or on the axis {name: endpoint, url: http://HOST:PORT, version: what runs there}"
            )
        if self.endpoints.setdefault(version, place) != place:
            raise BadInput(
                f"{self.sweep.source}: two endpoints are both declared as version {version!r}, and where one is makes "
                "no other cell: give each a version of its own that says what runs there"
            )

    def _asked(self, point: Point) -> Asked:
        """Return the workload of ``point``: axes over the value of the axis ``workload``, that over the sweep's own."""
        ask = point.get("workload", WorkloadAsk({})).over(self.sweep.workload)
        request = {
            **ask.request,
            **{k.removeprefix("request."): v for k, v in point.items() if k.startswith("request.")},
        }
        axes = {key: point[key] for key in LOAD_AXES if key in point}
        places = {**ask.places, **{key: self._places.get(key, self.sweep.source) for key in axes}}
        return Asked(
            fields={**ask.fields, **axes},
            request={key: request[key] for key in sorted(request) if request[key] is not None},
            where=lambda key: places.get(key, self.sweep.source),
        )


def _linked(axis: Axis) -> set[str]:
    return {name for value in axis.values for name in value} if axis.name == LINK else set()


def default_quantization(model: ModelRef, weights_format: str) -> str:
    """Return the precision that a model has by itself: that of its hub checkpoint, or of a GGUF file by its name.

    Where neither tells: f16 in GGUF, else bf16. What the engine then says that it runs is held against it.
    """
    if weights_format == "gguf":
        named = [q for q in quantizations_of("gguf") if model.location.lower().endswith((f"-{q}.gguf", f".{q}.gguf"))]
        return named[0] if named else "f16"
    entry = catalogue().get(model.name)
    own = [q for q, location in entry.checkpoints.items() if location == entry.location] if entry else []
    return own[0] if own else "bf16"


def _engine_args(
    engine: KnownEngine, settings: Mapping[str, ArgValue], own: Mapping[str, ArgValue], point: Point
) -> dict[str, Scalar]:
    """Arguments of the sweep, of the axis value and of the ``engine.`` axes, the later over the earlier.

    Mappings become one argument for each of their keys: ``speculative.tokens``.
    """
    axes = {key.removeprefix("engine."): value for key, value in point.items() if key.startswith("engine.")}
    args: dict[str, Scalar] = {}
    for source in (settings, own, axes):
        for key, value in source.items():
            name = engine.argument_name(key)
            # A later mapping, or null, replaces an earlier one as a whole.
            args = {k: v for k, v in args.items() if not k.startswith(f"{name}.")}
            args |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, Mapping) else {name: value}
    return {key: args[key] for key in sorted(args) if args[key] is not None}


def _weights(
    model: ModelRef, quantization: str, engine: KnownEngine, args: dict[str, Scalar]
) -> tuple[ModelRef, dict[str, Scalar], str | None]:
    """Return where weights in ``quantization`` come from, the engine arguments with that, and why there are none."""
    if model.weights == "dummy":
        return _dummy(model, quantization, engine, args)
    if model.source != "generated" and (engine.weights_format == "gguf" or "quantization" in args):
        return model, args, None
    held, location = _held(model, quantization, engine)
    if held is None or is_a(held, quantization) or (held in UNQUANTIZED and quantization in UNQUANTIZED):
        return replace(model, location=location), args, None
    method = online_method(engine.name, quantization)
    if held in UNQUANTIZED and method is not None and "quantization" not in args:
        return model, {**args, "quantization": method}, None
    if model.source == "generated":
        made = ", ".join(generated_quantizations(model.location, engine.weights_format))
        return model, args, f"{model.name} is made in {made} only"
    return model, args, f"{model.name} is there in {held}, not in {quantization}: name a checkpoint in it as the model"


def _dummy(
    model: ModelRef, quantization: str, engine: KnownEngine, args: dict[str, Scalar]
) -> tuple[ModelRef, dict[str, Scalar], str | None]:
    """Dummy weights need a configuration only: the catalogue's, in any precision that it can be written in."""
    if model.source != "hub" or engine.weights_format == "gguf":
        return model, args, "dummy weights are for models from the hub, in vllm and sglang"
    if "quantization" in args or not needs_no_hub(model):
        return model, args, None
    possible = dummy_precisions(model.name)
    if quantization in possible:
        return model, args, None
    method = online_method(engine.name, quantization)
    if method is not None:
        return model, {**args, "quantization": method}, None
    return model, args, f"dummy weights of {model.name} are made in {', '.join(possible)}, not in {quantization}"


def _held(model: ModelRef, quantization: str, engine: KnownEngine) -> tuple[str | None, str]:
    """Return the precision of the weights to be loaded (None where it cannot be known beforehand), and their place."""
    if model.source == "generated":
        made = generated_quantizations(model.location, engine.weights_format)
        return quantization if quantization in made else made[0], model.location
    entry = catalogue().get(model.name)
    if entry is not None and model.source == "hub":
        listed = [q for q in entry.checkpoints if is_a(q, quantization)]
        if listed and model.revision is None:
            best = quantization if quantization in listed else listed[0]
            return best, entry.checkpoints[best]
        return default_quantization(model, "hf"), model.location
    if model.source == "path" and not model.location.endswith(".gguf"):
        return precision_of_config(local_config(Path(model.location))), model.location
    return None, model.location
