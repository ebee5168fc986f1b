"""From what the sweep file says of a workload to the workload itself: defaults, contradictions, files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import WindowPolicy
from joulemark.workloads.matrix.files import Files
from joulemark.workloads.matrix.trace import Replayed, replayed
from joulemark.workloads.sweep.workload_model import LengthAsk, PromptsAsk
from joulemark.workloads.traffic.own_prompts import read_prompts
from joulemark.workloads.traffic.tables import lengths_of
from joulemark.workloads.workload import Arrivals, Length, Load, Scalar, Workload, most

RATES = ("rate", "ramp", "steps", "trace", "load")
"""Fields of which each says how fast requests arrive."""


@dataclass(frozen=True)
class Asked:
    """All fields of one workload, axes included; those that are None are not given. ``where`` gives their places."""

    fields: Mapping[str, Any]
    request: Mapping[str, Scalar]
    where: Callable[[str], str]

    def get(self, key: str) -> Any:
        """Return a field, None where it is not given."""
        return self.fields.get(key)

    def error(self, key: str, message: str) -> BadInput:
        """Return the error that ``message`` holds where ``key`` was written."""
        return BadInput(f"{self.where(key)}: {message}")

    @property
    def arrivals(self) -> str:
        """How requests arrive: as written, else as the other fields say."""
        if self.get("arrivals") is not None:
            return str(self.get("arrivals"))
        if self.get("trace") is not None:
            return "trace"
        if self.get("burstiness") is not None:
            return "gamma"
        return "poisson" if any(self.get(key) is not None for key in RATES) else "closed"

    @property
    def effective(self) -> dict[str, Any]:
        """Fields with their defaults, for ``exclude`` to look at."""
        concurrency = 1 if self.arrivals == "closed" else None
        found = {"seed": 0, "stop": "fixed", "concurrency": concurrency}
        given = {key: value for key, value in self.fields.items() if value is not None}
        return {**found, **given, "arrivals": self.arrivals, "request": dict(self.request)}


def make_workload(asked: Asked, window: WindowPolicy, files: Files) -> Workload:
    """Return the workload. Raises BadInput with its place where fields contradict each other or a file is unfit."""
    _check(asked)
    trace = replayed(asked, window, files) if asked.get("trace") is not None else None
    own = _own_prompts(asked, files)
    lengths = own or (
        _length(asked, "input_tokens", trace, files),
        _length(asked, "output_tokens", trace, files),
    )
    prefix = asked.get("prefix")
    if prefix is not None and prefix.tokens >= most(lengths[0]):
        raise asked.error("prefix", f"a prefix of {prefix.tokens} tokens leaves nothing of input_tokens: shorten it")
    return Workload(
        input_tokens=lengths[0],
        output_tokens=lengths[1],
        concurrency=(asked.get("concurrency") or 1) if asked.arrivals == "closed" else None,
        arrivals="closed" if asked.arrivals == "closed" else _arrivals(asked, window, trace),
        seed=asked.get("seed") or 0,
        request=dict(asked.request),
        load=asked.get("load"),
        prefix=prefix,
        conversation=asked.get("conversation"),
        prompts=None if asked.get("prompts") is None else files.digest(asked.get("prompts").file),
        tokenizer=None if asked.get("tokenizer") is None else files.tokenizer(asked.get("tokenizer")),
        stop=asked.get("stop") or "fixed",
        max_in_flight=asked.get("max_in_flight"),
    )


def _check(asked: Asked) -> None:
    arrivals, load = asked.arrivals, asked.get("load") or Load()
    given = [key for key in RATES if asked.get(key) is not None]
    if load.percentile is not None and asked.get("trace") is None:
        raise asked.error("load", "a percentile is of a trace's own load: write trace: {file: ...}, or fraction: 0.9")
    _check_loop(asked, arrivals, given)
    _check_rates(asked, arrivals, load, given)
    shaped = asked.get("burstiness") is not None
    if shaped and arrivals != "gamma":
        raise asked.error("burstiness", f"{arrivals} arrivals have no burstiness: write arrivals: gamma")
    if arrivals == "gamma" and not shaped:
        raise asked.error("arrivals", "arrivals: gamma needs burstiness: write burstiness: 0.5")
    _check_prompts(asked)


def _check_loop(asked: Asked, arrivals: str, given: list[str]) -> None:
    if arrivals == "closed":
        for key in (*given, "burstiness", "max_in_flight"):
            if asked.get(key) is not None:
                instead = "concurrency says it" if key == "max_in_flight" else "or write arrivals: poisson"
                raise asked.error(key, f"{key} and a closed loop contradict each other: leave {key} out, {instead}")
    elif asked.get("concurrency") is not None:
        other = given[0] if given else f"arrivals: {arrivals}"
        raise asked.error(
            "concurrency",
            f"concurrency and {other} contradict each other: a closed loop has a concurrency, an open loop a rate; "
            "leave one of them out",
        )


def _check_rates(asked: Asked, arrivals: str, load: Load, given: list[str]) -> None:
    """One field says how fast; a percentile only says which part of a trace."""
    rates = [key for key in given if not (key == "load" and load.percentile is not None)]
    if len(rates) > 1:
        names = ["load: {fraction: ...}" if key == "load" else key for key in rates[:2]]
        raise asked.error(rates[1], f"{names[0]} and {names[1]} contradict each other: give one of them")
    if arrivals == "closed":
        return
    if arrivals == "trace" and rates != ["trace"]:
        raise asked.error("arrivals", "arrivals: trace needs the trace: write trace: {file: trace.csv}")
    if arrivals != "trace" and rates == ["trace"]:
        raise asked.error("trace", f"a trace and arrivals: {arrivals} contradict each other: leave arrivals out")
    if not rates:
        raise asked.error(
            "arrivals",
            f"arrivals: {arrivals} needs a rate: write rate: 4 (requests/s), a ramp, steps or load: {{fraction: 0.9}}",
        )


def _check_prompts(asked: Asked) -> None:
    if asked.get("prompts") is not None:
        for key in ("input_tokens", "prefix", "conversation"):
            if asked.get(key) is not None:
                raise asked.error(key, f"{key} and prompts contradict each other: the prompts are as they are")
    if asked.get("tokenizer") is not None:
        for key in ("prompts", "prefix", "conversation"):
            if asked.get(key) is not None:
                raise asked.error("tokenizer", f"texts of exact lengths have no {key}: leave tokenizer out, or {key}")
    if asked.get("conversation") is not None and asked.get("trace") is not None:
        raise asked.error("conversation", "a trace has a time for every request: leave conversation or trace out")


def _arrivals(asked: Asked, window: WindowPolicy, trace: Replayed | None) -> Arrivals:
    key = "ramp" if asked.get("ramp") is not None else "steps"
    stretches = asked.get(key) or ()
    asked_s, lasts_s = window.warmup_s + window.window_s, sum(s.duration_s for s in stretches)
    if stretches and lasts_s < asked_s:
        raise asked.error(
            key, f"this lasts {lasts_s:g} s, less than warm-up and window together ({asked_s:g} s): lengthen it"
        )
    return Arrivals(
        process=asked.arrivals,
        rate_per_s=asked.get("rate"),
        burstiness=asked.get("burstiness"),
        stretches=stretches,
        trace=trace.trace if trace else None,
    )


def _length(asked: Asked, key: str, trace: Replayed | None, files: Files) -> int | Length:
    value = asked.get(key)
    if value is None:
        if trace is None:
            raise asked.error(key, f"no {key} is given: write 'workload: {{input_tokens: 1024, output_tokens: 256}}'")
        return trace.length(key)
    if not isinstance(value, LengthAsk):
        return int(value)
    if value.file is not None:
        return _table(value, files)
    assert value.most is not None
    return Length(value.kind, value.least, value.most, value.mean, value.stdev, value.median, value.p90)


def _table(ask: LengthAsk, files: Files) -> Length:
    assert ask.file is not None
    table = files.table(ask.file)
    if ask.column is None and len(table.column_names) > 1:
        raise BadInput(f"{ask.file.where}: it has the columns {', '.join(table.column_names)}: write column: ...")
    column = ask.column or table.column_names[0]
    with files.blamed(ask.file):
        lengths = lengths_of(table, column)
        if not len(lengths):
            raise BadInput("it has no rows")
    longest = max(ask.least, int(np.max(lengths)))
    return Length(
        "table",
        ask.least,
        longest if ask.most is None else min(ask.most, longest),
        table=files.digest(ask.file),
        column=column,
    )


def _own_prompts(asked: Asked, files: Files) -> tuple[Length, int | Length] | None:
    """Return the lengths of the user's prompts: from above for texts, which only the engine can count."""
    ask: PromptsAsk | None = asked.get("prompts")
    if ask is None:
        return None
    with files.blamed(ask.file):
        own = read_prompts(files.content(ask.file))
    answer = asked.get("output_tokens")
    if isinstance(answer, LengthAsk):
        raise asked.error("output_tokens", "with prompts, output_tokens is one number, for lines that give none")
    if answer is None and any(p.output_tokens is None for p in own):
        raise asked.error("prompts", "lines without max_tokens need output_tokens: write output_tokens: 512")
    given = {p.output_tokens if p.output_tokens is not None else int(answer) for p in own}
    longest = ask.max_input_tokens or max(p.tokens_at_most for p in own)
    outputs = Length("prompts", min(given), max(given), otherwise=answer) if len(given) > 1 else min(given)
    return Length("prompts", 1, longest), outputs
