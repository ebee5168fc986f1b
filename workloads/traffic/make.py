"""From a workload to its traffic."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from joulemark.workloads.traffic.arrivals import Schedule, schedule
from joulemark.workloads.traffic.draws import Seeds
from joulemark.workloads.traffic.lengths import DrawnLengths, Lengths, MixedLengths, TraceLengths, Whole
from joulemark.workloads.traffic.own_prompts import OwnPrompts, read_prompts
from joulemark.workloads.traffic.prompts import RandomPrompts
from joulemark.workloads.traffic.tables import Tables, lengths_of, read_table
from joulemark.workloads.traffic.text import ExactText, TextPrompts, load_tokenizer
from joulemark.workloads.traffic.trace import Rows, read_trace, replay, trace_lengths
from joulemark.workloads.traffic.traffic import Source, Traffic
from joulemark.workloads.workload import Arrivals, Conversation, Length, Trace, Workload

CHARACTERS_PER_TOKEN = 4
FEW_IDS = 2
"""A vocabulary where nobody looks at the ids."""


def make_traffic(workload: Workload, *, prompt_seed: int, vocab_size: int, tables: Tables) -> Traffic:
    """Return the traffic of ``workload`` in the trial with ``prompt_seed``.

    ``vocab_size`` is that of the served model; ``tables`` hold the files that the workload names by their digests.
    Raises BadInput where one is missing or unfit.
    """
    seeds = Seeds(workload.seed, prompt_seed)
    arrivals = workload.arrivals if isinstance(workload.arrivals, Arrivals) else None
    trace = arrivals.trace if arrivals else None
    rows = read_trace(tables, trace) if trace else None
    return Traffic(
        source=_source(workload, seeds, vocab_size, tables, rows),
        schedule=_schedule(arrivals, seeds, rows) if arrivals else None,
        turns=workload.conversation.turns if workload.conversation else 1,
    )


def lengths_asked(workload: Workload, tables: Tables) -> Iterator[tuple[int, int]]:
    """Yield prompt and answer length of one request after the other, in tokens, for as long as anyone wants them.

    Prompts that are text count as so many characters a token. Raises BadInput where a file is missing or unfit.
    """
    source = make_traffic(workload, prompt_seed=0, vocab_size=FEW_IDS, tables=tables).source
    for number in itertools.count():
        if isinstance(source, RandomPrompts) and workload.conversation is None:
            # Nothing but the lengths is wanted: prompts would take a hundred times as long.
            yield source.lengths.of(number)
            continue
        request = source.request(number)
        asked = request.input_tokens
        yield (len(str(request.prompt)) // CHARACTERS_PER_TOKEN if asked is None else asked), request.output_tokens


def files_of(workload: Workload) -> set[str]:
    """Return the digests of the files that ``workload`` needs."""
    lengths = (workload.input_tokens, workload.output_tokens)
    named = [length.table for length in lengths if isinstance(length, Length)]
    if isinstance(workload.arrivals, Arrivals) and workload.arrivals.trace:
        named.append(workload.arrivals.trace.table)
    return {name for name in (*named, workload.prompts, workload.tokenizer) if name is not None}


def _schedule(arrivals: Arrivals, seeds: Seeds, rows: Rows | None) -> Schedule:
    if arrivals.trace is None or rows is None:
        return schedule(arrivals, seeds)
    return replay(rows, arrivals.trace)


def _source(workload: Workload, seeds: Seeds, vocab_size: int, tables: Tables, rows: Rows | None) -> Source:
    fixed = workload.stop == "fixed"
    if workload.prompts is not None:
        answer = workload.output_tokens
        otherwise = answer.otherwise if isinstance(answer, Length) else answer
        return OwnPrompts(read_prompts(tables.content(workload.prompts)), otherwise, seeds, fixed)
    lengths = _lengths(workload, seeds, tables, rows)
    if workload.tokenizer is not None:
        return TextPrompts(lengths, ExactText(load_tokenizer(tables.content(workload.tokenizer))), seeds, fixed)
    return RandomPrompts(
        lengths=lengths,
        seeds=seeds,
        vocab_size=vocab_size,
        fixed_length=fixed,
        prefix=workload.prefix,
        conversation=workload.conversation or Conversation(1),
    )


def _lengths(workload: Workload, seeds: Seeds, tables: Tables, rows: Rows | None) -> Lengths:
    asked_in, asked_out = workload.input_tokens, workload.output_tokens
    drawn = DrawnLengths(asked_in, asked_out, _columns(asked_in, asked_out, tables), seeds)
    if rows is None:
        return drawn
    assert isinstance(workload.arrivals, Arrivals)
    trace = workload.arrivals.trace
    assert isinstance(trace, Trace)
    recorded: TraceLengths = trace_lengths(rows, trace, asked_in, asked_out)
    return MixedLengths(recorded if _recorded(asked_in) else drawn, recorded if _recorded(asked_out) else drawn)


def _recorded(length: int | Length) -> bool:
    return isinstance(length, Length) and length.kind == "trace"


def _columns(asked_in: int | Length, asked_out: int | Length, tables: Tables) -> dict[Length, Whole]:
    found = {}
    for length in (asked_in, asked_out):
        if isinstance(length, Length) and length.table is not None:
            table = read_table(tables.content(length.table))
            found[length] = lengths_of(table, length.column or table.column_names[0])
    return found
