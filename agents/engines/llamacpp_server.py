"""Serve a GGUF file with llama.cpp's own server, from inside the xllamacpp wheel.

Runs in the engine's environment, which has neither joulemark nor anything else: standard library and xllamacpp only.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import signal
import threading
from typing import Any

import xllamacpp

KEY_VARIABLE = "JOULEMARK_API_KEY"


def parameters(options: argparse.Namespace) -> Any:
    """Return llama.cpp's parameters for the command line."""
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    # Older ones listen at one address.
    where = "hostnames" if hasattr(params, "hostnames") else "hostname"
    setattr(params, where, _as_kind_of(getattr(params, where), options.host))
    params.port = options.port
    params.n_parallel = options.slots
    params.n_ctx = options.context * options.slots
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    params.n_threads_http = options.slots + 4
    params.cont_batching = True
    params.cache_prompt = False
    params.endpoint_metrics = True
    key = os.environ.get(KEY_VARIABLE)
    if key:
        params.api_keys = [key]
    params.model_alias = _as_kind_of(params.model_alias, options.alias)
    for name, value in options.set:
        _set(params, name, value)
    return params


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slots", type=int, default=1, help="requests served at the same time")
    parser.add_argument("--context", type=int, default=2048, help="tokens per slot")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--alias", default="model")
    parser.add_argument(
        "--set", type=lambda t: tuple(t.split("=", 1)), action="append", default=[], metavar="NAME=VALUE"
    )
    options = parser.parse_args()
    print("running xllamacpp", importlib.metadata.version("xllamacpp"), flush=True)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        server = xllamacpp.Server(parameters(options))
    except RuntimeError as error:
        # What went wrong stands in llama.cpp's own lines above.
        msg = f"llama.cpp's server did not start: {error}"
        raise SystemExit(msg) from None
    print("listening on", server.listening_address, flush=True)
    stop.wait()
    del server


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _set(params: Any, name: str, text: str) -> None:
    """Set a free parameter by its name in llama.cpp, in the type that it has there."""
    holder, _, last = name.rpartition(".")
    for part in filter(None, holder.split(".")):
        params = getattr(params, part)
    if not hasattr(params, last):
        msg = f"llama.cpp has no parameter {name}"
        raise SystemExit(msg)
    kind = type(getattr(params, last))
    try:
        value = text.lower() in ("1", "true", "yes") if kind is bool else kind(text)
    except ValueError:
        msg = f"llama.cpp has no parameter {name} that could be {text!r}: it is of the type {kind.__name__}"
        raise SystemExit(msg) from None
    setattr(params, last, value)


def _as_kind_of(example: Any, text: str) -> Any:
    """Return ``text``, or a collection of it where llama.cpp's binding wants one (its versions differ)."""
    return text if isinstance(example, str) else type(example)([text])


if __name__ == "__main__":
    main()
