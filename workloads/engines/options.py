"""Command-line options of the engines: the user's arguments over our defaults, never one twice."""

from __future__ import annotations

from collections.abc import Mapping

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import Scalar
from joulemark.workloads.engines.common import common_name

ENVIRONMENT_PREFIX = "env."
"""An engine argument ``env.NAME`` is an environment variable of the engine instead."""


def option_name(key: str) -> str:
    """Return an argument in its one spelling.

    Common options are written with ``_``, an engine's own as vLLM and SGLang write them: with ``-``, without those in
    front.
    """
    if key.startswith(ENVIRONMENT_PREFIX):
        return key
    return common_name(key) or key.lstrip("-").replace("_", "-")


def refuse_reserved(args: Mapping[str, Scalar], reserved: Mapping[str, str], engine: str) -> None:
    """Raise BadInput where ``args`` holds an argument that the sweep file has another word for."""
    for key in args:
        if key in reserved:
            raise BadInput(f"the {engine} argument {key!r} cannot be given: {reserved[key]}")


def merged(defaults: Mapping[str, Scalar], args: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return ``defaults`` with the user's ``args`` over them; a null removes an option, ``env.`` ones are left out."""
    given = {key: value for key, value in args.items() if not key.startswith(ENVIRONMENT_PREFIX)}
    return {key: value for key, value in {**defaults, **given}.items() if value is not None}


def flags(options: Mapping[str, Scalar], *, negatable: bool) -> tuple[str, ...]:
    """Return ``--key value`` for each option; true is ``--key``, false ``--no-key`` or, if not negatable, nothing."""
    words: list[str] = []
    for key, value in options.items():
        if value is True:
            words.append(f"--{key}")
        elif value is False:
            words += [f"--no-{key}"] if negatable else []
        else:
            words += [f"--{key}", text(value)]
    return tuple(words)


def variables(args: Mapping[str, Scalar]) -> dict[str, str]:
    """Return the environment variables among the user's ``args``."""
    return {
        key.removeprefix(ENVIRONMENT_PREFIX): text(value)
        for key, value in args.items()
        if key.startswith(ENVIRONMENT_PREFIX) and value is not None
    }


def text(value: Scalar) -> str:
    """Return a value as an argument: whole floats without a point, booleans in lower case."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)
