"""Rounding to each number format, against decoders written from the formats' definitions."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from joulemark.agents.models.numbers import (
    from_bf16,
    from_fp8,
    group_scales,
    packed_int4,
    packed_nibbles,
    to_bf16,
    to_fp8,
    to_int,
    to_q4_0,
    to_q8_0,
)
from joulemark.agents.models.weights import Floats


@pytest.fixture
def values() -> Floats:
    """Eight rows of 64, one of them all zero, each of another size."""
    draw = np.random.Generator(np.random.Philox(3)).normal(size=(8, 64)).astype(np.float32)
    draw *= np.float32(10.0) ** np.arange(-4, 4, dtype=np.float32)[:, None]
    draw[2] = 0
    return draw


def decoded_q8_0(data: bytes) -> list[float]:
    """32 weights after a float16 scale: weight = scale x byte."""
    out: list[float] = []
    for scale, *integers in struct.iter_unpack("<e32b", data):
        out += [scale * integer for integer in integers]
    return out


def decoded_q4_0(data: bytes) -> list[float]:
    """32 weights after a float16 scale: the low halves of 16 bytes, then their high halves, less 8."""
    out: list[float] = []
    for scale, *octets in struct.iter_unpack("<e16B", data):
        out += [scale * ((octet & 15) - 8) for octet in octets]
        out += [scale * ((octet >> 4) - 8) for octet in octets]
    return out


def test_bf16_is_the_nearest_with_ties_to_even(values: Floats) -> None:
    back = from_bf16(to_bf16(values))
    assert np.all(np.abs(back - values) <= np.abs(values) / 256)
    ties = np.array([1 + 1 / 256, 1 + 3 / 256, 1.0, -2.5], np.float32)
    assert from_bf16(to_bf16(ties)).tolist() == [1.0, 1 + 4 / 256, 1.0, -2.5]


def test_q8_0_is_within_half_a_step(values: Floats) -> None:
    data = to_q8_0(values)
    assert len(data) == values.size // 32 * 34
    back = np.array(decoded_q8_0(data)).reshape(values.shape)
    step = np.abs(values.reshape(-1, 32)).max(axis=1) / 127
    error = np.abs(back - values).reshape(-1, 32).max(axis=1)
    # Besides half a step: the scale itself is rounded to 11 bits (or 2^-25 where it is subnormal), 127 steps away.
    assert np.all(error <= step * (0.5 + 127 / 2048) + 127 * 2.0**-25)


def test_q8_0_rounds_halves_away_from_zero() -> None:
    block = np.zeros(32, np.float32)
    block[:4] = 127, 2.5, -2.5, 3.5
    assert decoded_q8_0(to_q8_0(block))[:4] == [127, 3, -3, 4]


def test_q4_0_is_within_a_step_and_keeps_the_largest(values: Floats) -> None:
    data = to_q4_0(values)
    assert len(data) == values.size // 32 * 18
    back = np.array(decoded_q4_0(data)).reshape(-1, 32)
    rows = values.reshape(-1, 32)
    step = np.abs(rows).max(axis=1, keepdims=True) / 8
    assert np.all(np.abs(back - rows) <= step * (1 + 8 / 2048) + 8 * 2.0**-25)
    largest = np.abs(rows).argmax(axis=1)[:, None]
    kept = np.take_along_axis(back, largest, axis=1)
    np.testing.assert_allclose(kept, np.take_along_axis(rows, largest, axis=1), rtol=2.0**-11, atol=8 * 2.0**-25)


def test_q4_0_places_each_weight_where_llamacpp_reads_it() -> None:
    block = np.arange(-8, 24, dtype=np.float32) % 16 - 8
    assert decoded_q4_0(to_q4_0(block)) == block.tolist()


def test_a_bf16_pattern_is_the_upper_half_of_a_float() -> None:
    assert to_bf16(np.array([1.0, -2.0, 0.15625], np.float32)).tolist() == [0x3F80, 0xC000, 0x3E20]


@pytest.mark.parametrize(("bits", "group"), [(8, 64), (4, 32)])
def test_integers_are_within_half_a_step(values: Floats, bits: int, group: int) -> None:
    scales = group_scales(values, bits, group)
    integers = to_int(values, scales, bits)
    highest = 2 ** (bits - 1) - 1
    assert integers.shape == values.shape
    assert np.abs(integers).max() == highest
    assert scales.shape == (8, 64 // group)
    back = integers * np.repeat(scales, group, axis=1)
    assert np.all(np.abs(back - values) <= np.repeat(scales, group, axis=1) * 0.5001)


def test_four_bit_words_hold_the_first_value_lowest() -> None:
    row = np.array([[-8, -7, 0, 1, 2, 3, 6, 7]], np.int8)
    word = int(packed_int4(row).view(np.uint32)[0, 0])
    assert [(word >> shift & 15) - 8 for shift in range(0, 32, 4)] == row[0].tolist()


def test_a_row_that_is_no_multiple_of_the_block() -> None:
    with pytest.raises(ValueError, match="48 columns are no multiple of 32"):
        to_q8_0(np.zeros((2, 48), np.float32))


def test_fp8_is_the_nearest_with_ties_to_even_and_ends_at_448() -> None:
    known = {0.0: 0x00, 1.0: 0x38, -1.0: 0xB8, 448.0: 0x7E, -448.0: 0xFE, 2.0**-9: 0x01, 2.0**-6: 0x08, 0.4375: 0x2E}
    assert to_fp8(np.array(list(known), np.float32)).tolist() == list(known.values())
    # Halfway between 1 and 1.125, between 1.125 and 1.25, and between nothing and the smallest number.
    ties = np.array([1.0625, 1.1875, 2.0**-10, 3 * 2.0**-10], np.float32)
    assert from_fp8(to_fp8(ties)).tolist() == [1.0, 1.25, 0.0, 2.0**-8]
    assert from_fp8(to_fp8(np.array([1e9, -500.0], np.float32))).tolist() == [448.0, -448.0]


def test_every_fp8_pattern_comes_back() -> None:
    bits = np.array([b for b in range(256) if b & 0x7F != 0x7F], np.uint8)
    assert to_fp8(from_fp8(bits)).tolist() == bits.tolist()


def test_half_bytes_stand_in_the_order_that_is_asked_for() -> None:
    row = np.arange(8)[None, :]
    word = int(packed_nibbles(row, (0, 2, 4, 6, 1, 3, 5, 7)).view(np.uint32)[0, 0])
    assert word == 0x75316420
