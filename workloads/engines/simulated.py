"""The simulated engine: a server of ours that streams tokens at modelled times, on GPUs that are not there.

It needs no weights and no GPU; what it gives is never a measurement. Engine arguments beside the common options are
faults to provoke: ``start_s`` (seconds until it is ready), ``fail_start`` (the last line it writes), ``die_after``
(requests that it answers before it ends itself with signal 9), ``slow`` (times as long for every step), and
``fault_share``, the share of starts on which one of these faults is drawn by chance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import Deployment, Scalar
from joulemark.workloads.engines.adapter import LAUNCHER, ApiTraits, Command, FailurePattern, StartFacts
from joulemark.workloads.engines.common import check_commons, common_name
from joulemark.workloads.engines.failures import OUT_OF_MEMORY, PORT_TAKEN
from joulemark.workloads.engines.options import flags, refuse_reserved, variables
from joulemark.workloads.engines.readback import differences, present
from joulemark.workloads.models.catalogue import catalogue
from joulemark.workloads.nearest import suggestion
from joulemark.workloads.precision import kv_words, quantizations_of
from joulemark.workloads.simulation.build import machine_of, why_not

FAULTS = {
    "start_s": "seconds until it is ready",
    "fail_start": "the last line that it writes before it ends while it starts",
    "die_after": "requests that it answers before it ends itself",
    "slow": "times as long for every step",
    "fault_share": "share of starts on which a fault is drawn",
}
KEY_VARIABLE = "JOULEMARK_API_KEY"
GPUS_VARIABLE = "JOULEMARK_SIMULATED_GPUS"
"""Names of the files of the simulated GPUs, with ``:`` between them."""
NAME = "simulated"
VERSION = "1"
"""Of the model: another one where the same cell would get other figures."""


class Simulated:
    """The adapter."""

    name: str = NAME
    # No weights are read, so that any precision of any model of the catalogue will do.
    weights_format: str = "any"
    api: ApiTraits = ApiTraits(
        ready_path="/health",
        metrics_path="/metrics",
        reported_paths=("/server_info",),
        body={"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
        fixed_length={"ignore_eos": True},
        takes_key=True,
    )
    failures: tuple[FailurePattern, ...] = (
        PORT_TAKEN,
        OUT_OF_MEMORY,
        FailurePattern(r"simulated fault: (?P<line>.*)", "engine_failed", "the sweep asks for this fault"),
    )
    stop_grace_s: float = 5.0
    ready_timeout_s: float = 60.0
    quantizations: tuple[str, ...] = quantizations_of("hf")
    kv_types: tuple[str, ...] = tuple(kv_words("vllm"))
    default_kv_type: str = "auto"
    default_slots: int = 256

    def argument_name(self, key: str) -> str:
        """Return an argument with underscores."""
        return key if key.startswith("env.") else common_name(key) or key.lstrip("-").replace("-", "_")

    def refusal(self, deployment: Deployment) -> str | None:
        """Return why ``deployment`` cannot be simulated, or None."""
        entry = catalogue().get(deployment.model.name)
        return why_not(deployment, entry.facts if entry is not None else None)

    def command(self, deployment: Deployment, facts: StartFacts) -> Command:
        """Return the command line, which holds the whole model as numbers. Raises BadInput for unknown arguments."""
        args = deployment.engine.args
        refuse_reserved(args, {"seed": "the workload has the seed"}, self.name)
        check_commons(args, self.name)
        _check(args)
        entry = catalogue().get(deployment.model.name)
        machine = machine_of(deployment, entry.facts if entry is not None else None)
        slots = args.get("max_running_requests")
        options: dict[str, Scalar] = {
            "host": facts.host,
            "port": facts.port,
            "served": facts.served_name,
            "slots": slots if isinstance(slots, int) else max(facts.slots, self.default_slots),
            "about": json.dumps(_about(deployment), separators=(",", ":")),
            "machine": json.dumps(asdict(machine), separators=(",", ":")),
            **{key: args[key] for key in FAULTS if args.get(key) is not None},
        }
        key = {KEY_VARIABLE: facts.api_key} if facts.api_key else {}
        return Command(("-P", LAUNCHER, *flags(options, negatable=False)), {**variables(args), **key})

    def engine_state(self, samples: Mapping[str, float]) -> dict[str, float | None]:
        """Return the columns of ``engine_state``; FLOPs and bytes are of one device."""
        names = ("running", "waiting", "kv_cache_usage", "prompt_tokens_total", "generation_tokens_total")
        known = {name: samples.get(f"simulated:{name}") for name in (*names, "preemptions_total")}
        work = {name: samples.get(f"simulated:{name}") for name in ("flops_total", "read_bytes_total")}
        return {**known, "draft_tokens_total": None, "accepted_tokens_total": None, **work}

    def reported(self, documents: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the server says that it stands for."""
        said = documents.get("/server_info")
        return present(dict(said)) if isinstance(said, Mapping) else {}

    def mismatches(self, deployment: Deployment, reported: Mapping[str, Any]) -> list[str]:
        """Return a sentence for all that it stands for otherwise than asked."""
        return differences(_about(deployment), reported)


def _about(deployment: Deployment) -> dict[str, Scalar]:
    return {
        "version": deployment.engine.version,
        "model": deployment.model.name,
        "quantization": deployment.quantization,
        "kv_type": deployment.kv_type,
        "accelerator": deployment.accelerator,
        "devices": deployment.parallel.devices,
    }


def _check(args: Mapping[str, Scalar]) -> None:
    """Raise BadInput for arguments that the simulated engine does not have."""
    for key, value in args.items():
        if key.startswith("env.") or common_name(key) is not None:
            continue
        if key not in FAULTS:
            raise BadInput(f"the simulated engine has no argument {key!r}: {suggestion(key, FAULTS)}")
        if key != "fail_start" and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
            raise BadInput(f"{key} of the simulated engine is a number ({FAULTS[key]}), found {value!r}")
