"""What a cell is expected to give, from the model alone: its requests run through the batcher without waiting.

In a closed loop, streams start staggered over one request; in an open loop, requests come when the workload's own
schedule has them due. Figures are of the time after a warm-up.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.simulation.batching import Batcher, Sequence
from joulemark.workloads.simulation.machine import Machine, cost

Lengths = Iterator[tuple[int, int]]
"""Prompt and answer length of one request after the other, without end."""
REQUESTS_AT_LEAST = 8
"""Requests that are measured; more where more run at the same time: then each of these once."""
STEPS_AT_MOST = 100_000


@dataclass(frozen=True)
class Forecast:
    """Figures of steady work. Energy and power are of all GPUs of the deployment.

    ``kept_up`` is false where an open loop asks for more than the engine can do, so that its queue grows.
    """

    output_tokens_per_s: float
    input_tokens_per_s: float
    watts: float
    idle_watts: float
    ttft_s: float
    itl_s: float
    request_s: float
    requests_per_s: float
    batch: float
    kept_up: bool
    steps: int

    @property
    def j_per_output_token(self) -> float | None:
        """GPU energy per answer token, prompts included; None where there were none."""
        return self.watts / self.output_tokens_per_s if self.output_tokens_per_s else None


@dataclass
class _Tally:
    seconds: float = 0.0
    busy_s: float = 0.0
    joules: float = 0.0
    output_tokens: int = 0
    input_tokens: int = 0
    running: float = 0.0
    ttft_s: list[float] = field(default_factory=list)
    request_s: list[float] = field(default_factory=list)


def closed_loop(machine: Machine, slots: int, concurrency: int, lengths: Lengths) -> Forecast:
    """Return the forecast for ``concurrency`` streams, each sending its next request when its last one ended."""
    first = [next(lengths) for _ in range(concurrency)]
    # A stream that is in the middle of its answer when all begins stands for one that began before.
    begun = [(inputs, max(1, round(outputs * (i + 1) / concurrency))) for i, (inputs, outputs) in enumerate(first)]
    return _Run(machine, slots, lengths, concurrency).closed(begun)


def open_loop(machine: Machine, slots: int, due_s: Iterator[float], lengths: Lengths, seconds: float) -> Forecast:
    """Return the forecast for requests that come at ``due_s`` over ``seconds``, the first half of it as warm-up."""
    return _Run(machine, slots, lengths, 0).open(due_s, seconds)


class _Run:
    def __init__(self, machine: Machine, slots: int, lengths: Lengths, concurrency: int) -> None:
        self.machine = machine
        self.batcher = Batcher(machine, slots)
        self.lengths = lengths
        self.concurrency = concurrency
        self.now_s = 0.0
        self.tally = _Tally()
        self.ended = 0

    def closed(self, begun: list[tuple[int, int]]) -> Forecast:
        for inputs, outputs in begun:
            self._send(inputs, outputs)
        self._step()
        # Where the KV cache is too small for all, those that fit are a round.
        together = self.batcher.active
        self._steps(together)
        self.tally = _Tally()
        self._steps(together + max(REQUESTS_AT_LEAST, together))
        return self._forecast(kept_up=True)

    def open(self, due_s: Iterator[float], seconds: float) -> Forecast:
        waiting = 0
        coming = itertools.chain(due_s, itertools.repeat(float("inf")))
        due = next(coming)
        warm = False
        while self.now_s < seconds and self.batcher.steps < STEPS_AT_MOST:
            while due <= self.now_s:
                self._send(*next(self.lengths), due)
                due = next(coming)
            if not warm and self.now_s >= seconds / 2:
                warm, self.tally, waiting = True, _Tally(), self._outstanding
            if not self._step():
                self._idle(min(due, seconds if warm else seconds / 2) - self.now_s)
        grown = self._outstanding - waiting
        return self._forecast(kept_up=grown <= max(4.0, 0.1 * len(self.tally.request_s)))

    @property
    def _outstanding(self) -> int:
        return self.batcher.active + len(self.batcher.waiting)

    def _steps(self, ended: int) -> None:
        while self.ended < ended and self.batcher.steps < STEPS_AT_MOST and self._step():
            pass

    def _send(self, inputs: int, outputs: int, at_s: float | None = None) -> None:
        sent_s = self.now_s if at_s is None else at_s
        if not self.batcher.add(Sequence(inputs, outputs, sent_s)):
            room = self.machine.kv_tokens
            raise BadInput(f"a request of {inputs} and {outputs} tokens never fits: the KV cache holds {room}")

    def _step(self) -> bool:
        step = self.batcher.plan()
        if step is None:
            return False
        price = cost(self.machine, step.load)
        self.now_s += price.seconds
        ended = self.batcher.finish(step)
        tally = self.tally
        tally.seconds += price.seconds
        tally.busy_s += price.seconds
        tally.joules += price.seconds * price.watts * self.machine.devices
        tally.output_tokens += step.load.logits
        tally.input_tokens += step.load.prompt_tokens
        tally.running += price.seconds * step.load.decoding
        tally.ttft_s += [self.now_s - float(str(s.tag)) for s in step.starting]
        for sequence in ended:
            self.ended += 1
            tally.request_s.append(self.now_s - float(str(sequence.tag)))
            if self.concurrency:
                self._send(*next(self.lengths))
        return True

    def _idle(self, seconds: float) -> None:
        self.now_s += seconds
        self.tally.seconds += seconds
        self.tally.joules += seconds * self.machine.idle_w * self.machine.devices

    def _forecast(self, *, kept_up: bool) -> Forecast:
        t = self.tally
        seconds = t.seconds or 1.0
        decoded = t.output_tokens - len(t.ttft_s)
        return Forecast(
            output_tokens_per_s=t.output_tokens / seconds,
            input_tokens_per_s=t.input_tokens / seconds,
            watts=t.joules / seconds,
            idle_watts=self.machine.idle_w * self.machine.devices,
            ttft_s=_mean(t.ttft_s),
            itl_s=t.running / decoded if decoded > 0 else 0.0,
            request_s=_mean(t.request_s),
            requests_per_s=len(t.request_s) / seconds,
            batch=t.running / seconds,
            kept_up=kept_up,
            steps=self.batcher.steps,
        )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
