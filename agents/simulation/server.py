"""Serve as the simulated engine: OpenAI's API on loopback, tokens at modelled times.

Started by its path, with the model of engine and GPUs as numbers on the command line: it reads no file of ours and
loads little, so that hundreds can be started.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import httptools
import msgspec

from joulemark.agents.simulation.answers import Answer, Asked, document, refusal
from joulemark.agents.simulation.gpu_file import GpuFile
from joulemark.agents.simulation.worker import Worker
from joulemark.workloads.simulation.batching import Batcher
from joulemark.workloads.simulation.machine import Machine

KEY_VARIABLE = "JOULEMARK_API_KEY"
GPUS_VARIABLE = "JOULEMARK_SIMULATED_GPUS"
BAD_START = 1
DRAWN_DIE_AFTER = (1, 40)
NEVER_S = 1e6


class Service:
    """What all connections share."""

    def __init__(self, options: argparse.Namespace, worker: Worker) -> None:
        self.worker = worker
        self.about: dict[str, Any] = json.loads(options.about)
        self.served: str = options.served
        self.key = os.environ.get(KEY_VARIABLE)
        self.die_after: int | None = options.die_after
        self.answered = 0

    def metrics(self) -> bytes:
        """Return the Prometheus page."""
        worker = self.worker
        batcher = worker.batcher
        values: dict[str, float] = {
            "running": batcher.active,
            "waiting": len(batcher.waiting),
            "kv_cache_usage": batcher.cache_usage,
            "prompt_tokens_total": worker.prompt_tokens,
            "generation_tokens_total": worker.generated_tokens,
            "preemptions_total": 0,
            "flops_total": worker.flops,
            "read_bytes_total": worker.read_bytes,
            "slipped_seconds_total": worker.slipped_s,
        }
        return "".join(f"simulated:{name} {value!r}\n" for name, value in values.items()).encode()

    def document(self, path: str) -> bytes:
        """Return the answer to a GET."""
        if path == "/health":
            return document(200, b"", "text/plain")
        if path == "/metrics":
            return document(200, self.metrics(), "text/plain; version=0.0.4")
        if path == "/server_info":
            return document(200, msgspec.json.encode(self.about))
        if path == "/v1/models":
            cards = {"object": "list", "data": [{"id": self.served, "object": "model", "owned_by": "simulated"}]}
            return document(200, msgspec.json.encode(cards))
        return refusal(404, f"there is nothing at {path}")

    def count(self) -> None:
        """Count a request that was answered; end as a crash would where that is asked for."""
        self.answered += 1
        if self.die_after is not None and self.answered >= self.die_after:
            print(f"simulated fault: died after {self.answered} requests", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)


class Connection(asyncio.Protocol):
    """One client's connection; httptools calls its ``on_...`` methods."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._url = self._body = b""
        self._key = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the request of a client that is gone."""
        del exc
        if self._answer is not None and not self._answer.ended:
            self._service.worker.batcher.drop(self._answer.sequence)

    def data_received(self, data: bytes) -> None:
        """Read on; what is no HTTP ends the connection."""
        assert self._transport is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._transport.write(refusal(400, str(error)))
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        """A request begins."""
        self._url, self._body, self._key = url, b"", ""

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the key."""
        if name.lower() == b"authorization":
            self._key = value.decode(errors="replace").removeprefix("Bearer ")

    def on_body(self, body: bytes) -> None:
        """Keep the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer."""
        assert self._transport is not None
        path = httptools.parse_url(self._url).path.decode()
        if self._service.key is not None and self._key != self._service.key and path != "/health":
            self._transport.write(refusal(401, "the key is missing or wrong"))
        elif self._parser.get_method() == b"POST" and path in ("/v1/completions", "/v1/chat/completions"):
            self._complete(chat=path.endswith("chat/completions"))
        else:
            self._transport.write(self._service.document(path))

    def _complete(self, *, chat: bool) -> None:
        assert self._transport is not None
        if self._answer is not None and not self._answer.ended:
            self._transport.write(refusal(400, "one request at a time on a connection"))
            self._transport.close()
            return
        try:
            asked = msgspec.json.decode(self._body, type=Asked)
        except msgspec.MsgspecError as error:
            self._transport.write(refusal(400, str(error)))
            return
        answer = _Counted.begin(self._transport, asked, chat=chat)
        answer.service = self._service
        if self._service.worker.add(answer.sequence):
            self._answer = answer
        else:
            most = self._service.worker.batcher.machine.kv_tokens
            self._transport.write(refusal(400, f"prompt and answer are more than the {most} tokens of the KV cache"))


class _Counted(Answer):
    service: Service

    def token(self, *, last: bool) -> None:
        super().token(last=last)
        if last:
            self.service.count()


def arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served", default="model")
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--machine", required=True, help="the model of engine and GPUs, as JSON")
    parser.add_argument("--about", default="{}", help="what it stands for, as JSON")
    parser.add_argument("--start_s", type=float, default=0.0)
    parser.add_argument("--fail_start")
    parser.add_argument("--die_after", type=int)
    parser.add_argument("--slow", type=float, default=1.0)
    parser.add_argument("--fault_share", type=float, default=0.0)
    return parser.parse_args()


def draw_fault(options: argparse.Namespace, chance: random.Random) -> None:
    """Provoke one of the faults on a share of the starts."""
    if chance.random() >= options.fault_share:
        return
    fault = chance.choice(("fail_start", "die_after", "start_s"))
    if fault == "fail_start":
        options.fail_start = "drawn: it does not start"
    elif fault == "die_after":
        options.die_after = chance.randint(*DRAWN_DIE_AFTER)
    else:
        options.start_s = NEVER_S
    print(f"simulated fault drawn: {fault}", flush=True)


async def serve(options: argparse.Namespace) -> None:
    """Serve until told to stop."""
    machine = Machine(**json.loads(options.machine))
    gpus = [GpuFile(Path(name)) for name in os.environ.get(GPUS_VARIABLE, "").split(":") if name]
    worker = Worker(Batcher(machine, options.slots), gpus, slow=options.slow)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    worker.occupy()
    service = Service(options, worker)
    server = await loop.create_server(lambda: Connection(service), options.host, options.port)
    print(f"simulated engine: not a measurement; listening on {options.host}:{options.port}", flush=True)
    working = asyncio.create_task(worker.run())
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        server.close()
        worker.leave()
        print(f"ended; steps came {worker.slipped_s:.3f} s later than modelled in all", flush=True)


def main() -> None:
    """Start, with the faults that are asked for."""
    options = arguments()
    draw_fault(options, random.Random())  # noqa: S311 -- a fault's chance is no secret
    time.sleep(options.start_s)
    if options.fail_start:
        print(f"simulated fault: {options.fail_start}", flush=True)
        sys.exit(BAD_START)
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
