"""A workload in a few words, for lines that a person reads."""

from __future__ import annotations

from joulemark.workloads.workload import Arrivals, Length, Load, Workload


def lengths_in_words(workload: Workload, between: str = "/") -> str:
    """Return both lengths: ``1024/256``, or ``1..4096/256`` where they differ between requests."""
    words = f"{_length(workload.input_tokens)}{between}{_length(workload.output_tokens)}"
    words += f" {workload.conversation.turns} turns" if workload.conversation else ""
    words += f" prefix {workload.prefix.tokens} of {workload.prefix.groups}" if workload.prefix else ""
    return words + (" natural stop" if workload.stop == "natural" else "")


def load_in_words(workload: Workload) -> str:
    """Return how hard: ``x8`` for a concurrency, ``poisson 4/s``, ``poisson at 0.9 of the highest``, ``trace p90``."""
    if not isinstance(workload.arrivals, Arrivals):
        return f"x{workload.concurrency}"
    return " ".join([workload.arrivals.process, *_rate(workload.arrivals, workload.load or Load())])


def _length(length: int | Length) -> str:
    if not isinstance(length, Length):
        return str(length)
    return "own" if length.kind == "prompts" else f"{length.least}..{length.most}"


def _rate(arrivals: Arrivals, load: Load) -> list[str]:
    words = [f"{arrivals.rate_per_s:g}/s"] if arrivals.rate_per_s is not None else []
    words += [f"burstiness {arrivals.burstiness:g}"] if arrivals.burstiness is not None else []
    words += [f"{s.from_per_s:g}..{s.to_per_s:g}/s" for s in arrivals.stretches]
    words += [f"speed {arrivals.trace.speed:g}"] if arrivals.trace and arrivals.trace.speed != 1 else []
    words += [f"at {load.fraction:g} of the highest"] if load.fraction is not None else []
    return [*words, *([f"p{load.percentile:g}"] if load.percentile is not None else [])]
