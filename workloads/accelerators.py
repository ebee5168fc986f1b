"""What is known of accelerators by their label. What is not known is None, and then nothing is excluded for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from joulemark.warehouse.units import BYTES_PER_GIB
from joulemark.workloads.document import parse_document


@dataclass(frozen=True)
class Accelerator:
    """One kind of accelerator.

    ``capability`` is the CUDA compute capability times ten (89 is 8.9), ``memory_bytes`` the most that a board of this
    label has, ``note`` why it cannot be measured.
    """

    label: str
    capability: int | None
    memory_bytes: int | None
    note: str | None = None


@cache
def accelerators() -> dict[str, Accelerator]:
    """Return the accelerators of ``accelerators.yaml`` by label."""
    text = files("joulemark.workloads").joinpath("accelerators.yaml").read_text(encoding="utf-8")
    return {label: _read(label, fields) for label, fields in parse_document(text, "accelerators.yaml").plain().items()}


def accelerator(label: str) -> Accelerator:
    """Return what is known of the accelerator ``label``; spelling of upper and lower case does not matter."""
    by_name = {known.lower(): found for known, found in accelerators().items()}
    return by_name.get(label.lower(), Accelerator(label, None, None))


def capability_in_words(capability: int) -> str:
    """Return a compute capability as it is usually written: ``8.9``."""
    return f"{capability // 10}.{capability % 10}"


def _read(label: str, fields: dict[str, object]) -> Accelerator:
    capability, memory, note = (fields.get(key) for key in ("capability", "memory_gib", "note"))
    return Accelerator(
        label,
        round(10 * float(str(capability))) if capability is not None else None,
        int(str(memory)) * BYTES_PER_GIB if memory is not None else None,
        str(note) if note is not None else None,
    )
