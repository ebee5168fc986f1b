"""An OpenAI-compatible server that runs already: measured, never launched, asked for nothing but completions.

What is behind it is told by what it says of itself (``owned_by`` of its models); where that is an engine we know, its
counters are read as that engine's. What it does not say is what the user declares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from joulemark.warehouse.schema.traces import ENGINE_STATE
from joulemark.workloads.cell import Deployment
from joulemark.workloads.engines.adapter import ApiTraits, Command, Engine, FailurePattern, StartFacts
from joulemark.workloads.precision import KV_TYPES, QUANTIZATIONS

UNDECLARED = "undeclared"
"""The version of an endpoint of which the sweep file does not say what runs there."""
MODELS_PATH = "/v1/models"


@dataclass(frozen=True)
class EndpointPlace:
    """Where an endpoint is: facts of a place, not factors.

    ``served`` is the model's name there (None: the only one), ``api_key_env`` the name of the variable on the node
    that holds the key, ``devices`` the GPUs it runs on where that cannot be seen (indexes or UUIDs).
    """

    url: str
    served: str | None = None
    api_key_env: str | None = None
    devices: tuple[str, ...] = ()

    @property
    def is_loopback(self) -> bool:
        """Whether the URL names the machine on which it is used."""
        host = urlsplit(self.url).hostname or ""
        return host in ("localhost", "::1", "0.0.0.0") or host.startswith("127.")  # noqa: S104 -- recognised, not bound to


_STATE = tuple(column.name for column in ENGINE_STATE.columns[3:])
"""The columns that an engine fills: all but where and when."""
_UNKNOWN = ApiTraits(
    ready_path=MODELS_PATH,
    metrics_path="/metrics",
    reported_paths=(MODELS_PATH,),
    body={"stream_options": {"include_usage": True}},
    fixed_length={"ignore_eos": True},
)


class Endpoint:
    """The adapter. ``behind`` is the engine that answers there, where it is one that we know."""

    name: str = "endpoint"
    weights_format: str = "any"
    failures: tuple[FailurePattern, ...] = ()
    stop_grace_s: float = 0.0
    ready_timeout_s: float = 30.0
    quantizations: tuple[str, ...] = tuple(QUANTIZATIONS)
    kv_types: tuple[str, ...] = tuple(KV_TYPES)
    default_kv_type: str = "auto"
    default_slots: int = 256

    def __init__(self, behind: Engine | None = None) -> None:
        self.behind = behind
        self.api: ApiTraits = _UNKNOWN if behind is None else _as(behind.api)

    def argument_name(self, key: str) -> str:
        """Return an argument as it is declared."""
        return key

    def refusal(self, deployment: Deployment) -> str | None:
        """Return why an endpoint cannot be asked for ``deployment``, or None."""
        if deployment.power_limit_w is not None:
            return "an endpoint runs already: set its power limit there, and declare it in its version"
        return None

    def command(self, deployment: Deployment, facts: StartFacts) -> Command:  # noqa: ARG002 -- as every adapter's
        """Return an empty command line: nothing is started."""
        return Command(())

    def engine_state(self, samples: Mapping[str, float]) -> dict[str, float | None]:
        """Return the columns of ``engine_state`` as the engine behind it counts them; none where that is unknown."""
        return self.behind.engine_state(samples) if self.behind is not None else dict.fromkeys(_STATE)

    def reported(self, documents: Mapping[str, Any]) -> dict[str, Any]:
        """Return what it says: its models, and all that the engine behind it says of itself."""
        cards = cards_of(documents.get(MODELS_PATH))
        said: dict[str, Any] = {"models": [str(card.get("id")) for card in cards]}
        owners = sorted({str(card["owned_by"]) for card in cards if card.get("owned_by")})
        if owners:
            said["owned_by"] = ", ".join(owners)
        return {**said, **(self.behind.reported(documents) if self.behind is not None else {})}

    def mismatches(self, deployment: Deployment, reported: Mapping[str, Any]) -> list[str]:
        """Return a sentence where it says another version than was declared."""
        declared, said = deployment.engine.version, reported.get("version")
        if declared == UNDECLARED or said is None or str(said) in declared or declared in str(said):
            return []
        return [f"version: declared {declared}, and it says {said}"]


def _as(theirs: ApiTraits) -> ApiTraits:
    """Return how to talk to an endpoint: as to the engine behind it."""
    paths = tuple(dict.fromkeys((MODELS_PATH, *theirs.reported_paths)))
    return replace(theirs, ready_path=MODELS_PATH, reported_paths=paths)


def cards_of(document: Any) -> list[Mapping[str, Any]]:
    """Return the models that the answer of ``/v1/models`` lists; none where it is no such answer."""
    listed = document.get("data") if isinstance(document, Mapping) else None
    return [card for card in listed if isinstance(card, Mapping)] if isinstance(listed, list) else []
