"""The interface of an engine. One file beside this one implements it per engine.

An engine is an interpreter path and an argument list, never an import. Everything here is pure: the agent fetches
documents and starts processes, the adapter says which and how, and reads what came back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from joulemark.workloads.cell import Deployment


@dataclass(frozen=True)
class Span:
    """One node's part of a deployment over several nodes: which of them it is, and where rank 0 listens.

    ``port`` and the one after it are free on the head node, for the ranks to find each other.
    """

    rank: int
    head: str
    port: int


@dataclass(frozen=True)
class StartFacts:
    """What the node adds to a deployment to make a command line.

    ``model_path`` is a GGUF file, a model folder or a hub id. ``slots`` is the highest concurrency that the sweep
    asks of this deployment, ``context_tokens`` the longest prompt plus answer, ``threads`` the compute threads of an
    engine on the CPU, ``cpus`` the logical CPUs it may use.
    """

    model_path: str
    port: int
    slots: int
    context_tokens: int
    threads: int = 1
    cpus: tuple[int, ...] = ()
    host: str = "127.0.0.1"
    served_name: str = "model"
    api_key: str | None = None
    span: Span | None = None
    """None where the deployment is on one node."""


@dataclass(frozen=True)
class Command:
    """Arguments for the interpreter of the engine's environment, and variables to set on top of the inherited ones."""

    argv: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FailurePattern:
    """A regular expression over the engine's own log, the failure class it means, and what to tell the user."""

    pattern: str
    failure_class: str
    advice: str


@dataclass(frozen=True)
class ApiTraits:
    """How to talk to the engine's OpenAI-compatible ``/v1/completions``.

    ``body`` is added to every request. ``fixed_length`` is what makes answers as long as asked for. ``takes_key`` says
    that it can be given an API key in its environment; arguments can be read by every user of the node.
    """

    ready_path: str
    metrics_path: str | None
    reported_paths: tuple[str, ...]
    body: dict[str, Any]
    fixed_length: dict[str, Any]
    reuse_connections: bool = True
    takes_key: bool = False


LAUNCHER = "{launcher}"
"""Stands in a command line for the path of the engine's launcher, a program of ours."""
LOG = "log"
"""The engine's own output among the documents that are read back."""


class Engine(Protocol):
    """One engine."""

    name: str
    weights_format: str
    """``gguf`` or ``hf``."""
    api: ApiTraits
    failures: tuple[FailurePattern, ...]
    stop_grace_s: float
    """Seconds from SIGTERM until the whole tree is killed."""
    ready_timeout_s: float

    def command(self, deployment: Deployment, facts: StartFacts) -> Command:
        """Return the command line, over several nodes that of one rank. Raises BadInput where it has no word."""

    def engine_state(self, samples: Mapping[str, float]) -> dict[str, float | None]:
        """Return the columns of ``engine_state`` from Prometheus samples summed by metric name; None where absent."""

    def reported(self, documents: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the engine says it runs, flat.

        ``documents`` are the answers at ``reported_paths`` by path, parsed where they are JSON, and under ``LOG`` what
        the engine has written so far; missing ones are absent.
        """

    def mismatches(self, deployment: Deployment, reported: Mapping[str, Any]) -> list[str]:
        """Return a sentence for everything that the engine runs otherwise than asked; empty where all agrees."""
