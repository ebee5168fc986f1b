"""Number formats of weights: rounding float32 to each of them, in numpy.

Blocks of Q8_0 and Q4_0 are those of llama.cpp (ggml-quants.c): 32 weights share one float16 scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from joulemark.agents.models.weights import Floats

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]

BLOCK = 32
FP8_MAX = np.float32(448)


def _fp8_values() -> Floats:
    """Return the 127 numbers of e4m3fn that are not negative, in the order of their bit patterns."""
    code = np.arange(127)
    exponent, mantissa = code >> 3, code & 7
    subnormal = mantissa * 2.0**-9
    return np.where(exponent == 0, subnormal, (1 + mantissa / 8) * 2.0 ** (exponent - 7.0)).astype(np.float32)


_FP8_VALUES = _fp8_values()
_FP8_MIDDLES = (_FP8_VALUES[1:] + _FP8_VALUES[:-1]) / np.float32(2)


def to_bf16(values: Floats) -> Array:
    """Return the bit patterns (uint16) of the nearest bfloat16, ties to even. Values must be finite."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounding = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return ((bits + rounding) >> np.uint32(16)).astype(np.uint16)


def to_q8_0(values: Floats) -> bytes:
    """Return Q8_0 blocks: a scale of max/127, then 32 signed bytes. The last axis must be a multiple of 32."""
    rows = _blocks(values)
    scales = np.abs(rows).max(axis=1, keepdims=True) / np.float32(127)
    quantized = _half_away(rows * _inverse(scales)).astype(np.int8)
    return _joined(scales, quantized.view(np.uint8))


def to_q4_0(values: Floats) -> bytes:
    """Return Q4_0 blocks: a scale, then 16 bytes, each with weight j in its low and j + 16 in its high half.

    The weight of the largest magnitude becomes 0 (that is -8), so that it is kept exactly. The last axis must be a
    multiple of 32.
    """
    rows = _blocks(values)
    extreme = np.take_along_axis(rows, np.abs(rows).argmax(axis=1, keepdims=True), axis=1)
    scales = extreme / np.float32(-8)
    quantized = np.minimum(15, (rows * _inverse(scales) + np.float32(8.5)).astype(np.int8)).astype(np.uint8)
    return _joined(scales, quantized[:, : BLOCK // 2] | (quantized[:, BLOCK // 2 :] << np.uint8(4)))


def from_bf16(bits: Array) -> Floats:
    """Return the float32 values of bfloat16 bit patterns."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def group_scales(values: Floats, bits: int, group: int) -> Floats:
    """Return the scales (rows, columns / group) with which symmetric integers of ``bits`` reach the largest values."""
    rows, columns = values.shape
    largest: Floats = np.abs(values).reshape(rows, columns // group, group).max(axis=2)
    return largest / np.float32(2 ** (bits - 1) - 1)


def to_int(values: Floats, scales: Floats, bits: int) -> Array:
    """Return the nearest multiples of ``scales`` as int8, in the shape of ``values``.

    They run from 1 - 2^(bits-1) to 2^(bits-1) - 1, so that zero is the middle.
    """
    highest = 2 ** (bits - 1) - 1
    grouped = values.reshape(*scales.shape, -1)
    quantized: Floats = np.rint(grouped * _inverse(scales)[:, :, None]).clip(-highest, highest)
    return quantized.reshape(values.shape).astype(np.int8)


def packed_int4(quantized: Array) -> Array:
    """Return int4 values (int8, rows x columns) as int32 words, rows x columns/8: offset by 8, the first lowest."""
    return packed_nibbles(quantized.astype(np.int16) + 8)


def packed_nibbles(values: Array, order: Sequence[int] = range(8)) -> Array:
    """Return values 0 to 15 (rows x columns) as int32 words, rows x columns/8.

    The n-th lowest half byte of a word is the value that ``order`` names at n, of the eight of that word.
    """
    nibbles = values.astype(np.uint32).reshape(len(values), -1, 8)[:, :, list(order)]
    shifts = np.arange(0, 32, 4, dtype=np.uint32)
    words: Array = np.bitwise_or.reduce(nibbles << shifts, axis=2).astype(np.uint32)
    return words.view(np.int32)


def to_fp8(values: Floats) -> Array:
    """Return the bit patterns (uint8) of the nearest 8-bit floats e4m3fn, ties to even; beyond 448 it is 448.

    Format: Micikevicius et al. 2022, "FP8 Formats for Deep Learning", table 1.
    """
    size = np.minimum(np.abs(values), FP8_MAX)
    code = np.searchsorted(_FP8_MIDDLES, size, side="left")
    tie = (code < len(_FP8_MIDDLES)) & (size == _FP8_MIDDLES[np.minimum(code, len(_FP8_MIDDLES) - 1)])
    code = code + (tie & (code % 2 == 1))
    bits: Array = (code | np.where(np.signbit(values), 0x80, 0)).astype(np.uint8)
    return bits


def from_fp8(bits: Array) -> Floats:
    """Return the float32 values of e4m3fn bit patterns; the two that mean no number must not be among them."""
    values: Floats = np.where(bits & 0x80, -1, 1).astype(np.float32) * _FP8_VALUES[bits & 0x7F]
    return values


def _blocks(values: Floats) -> Floats:
    if values.shape[-1] % BLOCK:
        raise ValueError(f"{values.shape[-1]} columns are no multiple of {BLOCK}")
    return np.ascontiguousarray(values, np.float32).reshape(-1, BLOCK)


def _inverse(scales: Floats) -> Floats:
    return np.divide(np.float32(1), scales, out=np.zeros_like(scales), where=scales != 0)


def _half_away(values: Floats) -> Floats:
    """Round halves away from zero, as C's roundf does."""
    return np.copysign(np.floor(np.abs(values) + np.float32(0.5)), values)


def _joined(scales: Floats, body: Array) -> bytes:
    head = scales.astype("<f2").view(np.uint8)
    return np.concatenate((head.reshape(len(body), 2), body), axis=1).tobytes()
