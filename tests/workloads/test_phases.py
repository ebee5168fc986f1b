"""Companion cells that take prefill and decode apart."""

import pytest

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.matrix import expand
from joulemark.workloads.sweep import parse_sweep

SWEEP = """
schema: 1
name: s
matrix: {{model: tiny-dense, quantization: q4_0, concurrency: [1, 4]}}
workload: {workload}
measure: {{repeats: 1, warmup: 1s, window: 4s, phases: {phases}}}
"""


def expanded(workload, phases="isolate"):
    return expand(parse_sweep(SWEEP.format(workload=workload, phases=phases), "s.yaml"))


def test_each_cell_is_followed_by_its_companions_at_the_same_batch():
    cells = expanded("{input_tokens: 256, output_tokens: 64, seed: 3}").cells
    asked = [(c.workload.input_tokens, c.workload.output_tokens, c.workload.concurrency) for c in cells]
    assert asked == [(256, 64, 1), (256, 1, 1), (8, 64, 1), (256, 64, 4), (256, 1, 4), (8, 64, 4)]
    assert len({c.deployment.deployment_id for c in cells}) == 1
    assert {c.workload.seed for c in cells} == {3}
    assert len({c.cell_id for c in cells}) == 6


def test_together_is_as_before():
    plain = expanded("{input_tokens: 256, output_tokens: 64}", "together").cells
    assert [c.cell_id for c in plain] == [
        c.cell_id
        for c in expanded("{input_tokens: 256, output_tokens: 64}").cells
        if c.workload.output_tokens == 64 and c.workload.input_tokens == 256
    ]


def test_a_companion_that_is_a_cell_of_its_own_is_there_once():
    cells = expanded("{input_tokens: 8, output_tokens: 64}").cells
    assert [(c.workload.input_tokens, c.workload.output_tokens) for c in cells] == [(8, 64), (8, 1)] * 2


@pytest.mark.parametrize(
    "workload",
    [
        "{input_tokens: {distribution: uniform, min: 8, max: 64}, output_tokens: 16}",
        "{input_tokens: 64, output_tokens: 16, prefix: {tokens: 32, groups: 2}}",
        "{input_tokens: 64, output_tokens: 16, conversation: {turns: 2}}",
    ],
)
def test_what_has_no_such_phases_is_measured_without_and_said(workload):
    found = expanded(workload)
    assert len(found.cells) == 2
    assert len([w for w in found.warnings if "phases cannot be told apart" in w]) == 2


def test_another_word():
    with pytest.raises(BadInput, match="way to measure phases"):
        expanded("{input_tokens: 256, output_tokens: 64}", "apart")
