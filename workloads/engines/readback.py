"""What an engine says that it runs, against what was asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joulemark.workloads.cell import Scalar


def differences(wanted: Mapping[str, Scalar], reported: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each wanted value that is reported otherwise; what is not reported says nothing."""
    return [
        f"asked for {key} {want}, the engine says {reported[key]}"
        for key, want in wanted.items()
        if want is not None and key in reported and _plain(reported[key]) != _plain(want)
    ]


def present(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is there of ``found``."""
    return {key: value for key, value in found.items() if value is not None}


def _plain(value: object) -> str:
    """``0.32.0+cpu`` is version 0.32.0, ``torch.bfloat16`` is bfloat16."""
    return str(value).partition("+")[0].removeprefix("torch.")
