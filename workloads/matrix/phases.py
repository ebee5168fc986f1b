"""Companion cells that take prefill and decode apart: prompts alone, and long answers to tiny prompts.

They are cells like any other, of the same deployment at the same concurrency, so that they share its engine start and
their results stand beside its own; the view ``phase_energy`` puts the three together.
"""

from __future__ import annotations

from dataclasses import replace

from joulemark.workloads.cell import Cell

TINY_PROMPT_TOKENS = 8
PROMPT_ONLY_TOKENS = 1
"""An engine answers with one token at least: it is the prompt's own, of the same forward pass."""


def companions(cell: Cell) -> tuple[Cell, ...]:
    """Return the cells of the phases of ``cell``; none where prompts and answers have no fixed length.

    In an open loop there is no batch to keep, and what prompts share (prefixes, conversations) is no prefill.
    """
    asked = cell.workload
    fixed = isinstance(asked.input_tokens, int) and isinstance(asked.output_tokens, int)
    if not fixed or asked.open_loop or asked.prefix is not None or asked.conversation is not None:
        return ()
    prompt_only = replace(asked, output_tokens=PROMPT_ONLY_TOKENS)
    answer_only = replace(asked, input_tokens=TINY_PROMPT_TOKENS)
    return tuple(replace(cell, workload=workload) for workload in (prompt_only, answer_only) if workload != asked)
