"""The two older layouts of 4-bit weights in groups of 128, as their own tools write them: GPTQ and AWQ.

Both keep the weight of a linear layer the other way round: rows are inputs, columns outputs. GPTQ packs eight inputs
of one output into a word, AWQ eight outputs of one input.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from joulemark.agents.models.numbers import group_scales, packed_nibbles, to_int
from joulemark.agents.models.safetensors import Stored
from joulemark.agents.models.weights import Floats

GROUP = 128
_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight outputs stands in the n-th half byte of a word."""
_MIDDLE = 8
_GPTQ_ZERO = _MIDDLE - 1
"""GPTQ stores zero points less one."""

GPTQ: dict[str, Any] = {
    "quant_method": "gptq",
    "bits": 4,
    "group_size": GROUP,
    "desc_act": False,
    "sym": True,
    "lm_head": False,
    "checkpoint_format": "gptq",
}
AWQ: dict[str, Any] = {
    "quant_method": "awq",
    "bits": 4,
    "group_size": GROUP,
    "zero_point": True,
    "version": "gemm",
}


def to_gptq(name: str, values: Floats) -> list[Stored]:
    """Return the tensors of a linear layer whose weight (outputs x inputs) is called ``name``: symmetric, GPTQ."""
    base = name.removesuffix(".weight")
    outputs, inputs = values.shape
    scales = group_scales(values, bits=4, group=GROUP).astype(np.float16)
    integers = to_int(values, scales.astype(np.float32), bits=4).astype(np.int16) + _MIDDLE
    zeros = np.full((inputs // GROUP, outputs), _GPTQ_ZERO)
    return [
        Stored(f"{base}.qweight", "I32", np.ascontiguousarray(packed_nibbles(integers).T)),
        Stored(f"{base}.qzeros", "I32", packed_nibbles(zeros)),
        Stored(f"{base}.scales", "F16", np.ascontiguousarray(scales.T)),
        Stored(f"{base}.g_idx", "I32", np.arange(inputs, dtype=np.int32) // GROUP),
    ]


def to_awq(name: str, values: Floats) -> list[Stored]:
    """Return the tensors of a linear layer whose weight (outputs x inputs) is called ``name``: zero points, AWQ."""
    base = name.removesuffix(".weight")
    outputs, inputs = values.shape
    grouped = values.reshape(outputs, inputs // GROUP, GROUP)
    # A zero point must lie inside, so that zero itself is a value.
    low, high = np.minimum(grouped.min(axis=2), 0), np.maximum(grouped.max(axis=2), 0)
    scales = ((high - low) / 15).astype(np.float16)
    wide = scales.astype(np.float32)
    zeros = np.rint(-low / wide).clip(0, 15)
    integers = (np.rint(grouped / wide[:, :, None]) + zeros[:, :, None]).clip(0, 15).reshape(outputs, inputs)
    return [
        Stored(f"{base}.qweight", "I32", packed_nibbles(integers.T, _AWQ_ORDER)),
        Stored(f"{base}.qzeros", "I32", packed_nibbles(zeros.T, _AWQ_ORDER)),
        Stored(f"{base}.scales", "F16", np.ascontiguousarray(scales.T)),
    ]
