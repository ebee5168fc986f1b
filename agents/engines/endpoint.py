"""A server that runs already, in the place of an engine that we start: looked at, measured, left as it was."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from joulemark.agents.engines.listener import Listener, listener_of
from joulemark.agents.http import Answer, ask, get
from joulemark.agents.secrets import Secrets
from joulemark.warehouse.errors import EngineError
from joulemark.warehouse.schema.trial import EngineRecord
from joulemark.workloads.cell import Deployment
from joulemark.workloads.engines.adapter import Engine, StartFacts
from joulemark.workloads.engines.catalogue import ENGINE_NAMES, engine_named
from joulemark.workloads.engines.endpoint import MODELS_PATH, Endpoint, EndpointPlace, cards_of

POLL_S = 0.5


@dataclass
class EndpointProcess:
    """The other side, as far as it can be told from here. ``pid`` is None where it is not on this node."""

    url: str
    api_key: str | None
    pid: int | None
    start_id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    @property
    def alive(self) -> bool:
        """Whether it answers."""
        return get(self.url + MODELS_PATH, 5.0, self.api_key) is not None

    def wait(self, timeout_s: float) -> bool:
        """Wait until it answers no more; return whether that is so."""
        deadline = time.monotonic() + timeout_s
        while self.alive:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)
        return True


@dataclass
class EndpointHost:
    """One endpoint in use; see ``EngineHost``."""

    engine: Engine
    deployment: Deployment
    facts: StartFacts
    process: EndpointProcess
    record: EngineRecord

    @property
    def base_url(self) -> str:
        """Where it answers."""
        return self.process.url

    @classmethod
    def start(cls, deployment: Deployment, place: EndpointPlace, report: Callable[[str], None]) -> EndpointHost:
        """Find the endpoint ready and its model among those that it serves. Raises EngineError where it is not so."""
        url, api_key = place.url.rstrip("/").removesuffix("/v1"), _key(place)
        report(f"asking {url} for its models")
        begun = time.monotonic()
        document = _models(url, api_key)
        ready_s = time.monotonic() - begun
        served = _served(place, deployment, [str(card.get("id")) for card in cards_of(document)], url)
        engine = Endpoint(_behind(document))
        secrets = Secrets.here(api_key)
        documents = {path: _document(url + path, api_key) for path in engine.api.reported_paths}
        found = listener_of(url)
        process = EndpointProcess(url, api_key, found.pid if found is not None else None)
        reported = engine.reported({path: value for path, value in documents.items() if value is not None})
        record = EngineRecord(
            name=engine.name,
            version=deployment.engine.version,
            start_id=process.start_id,
            argv=(),
            environment={},
            reported=secrets.hide_in({**reported, **_seen(url, found)}),
            ready_s=round(ready_s, 3),
            log="",
        )
        facts = StartFacts("", urlsplit(url).port or 0, 0, 0, served_name=served, api_key=api_key)
        return cls(engine, deployment, facts, process, record)

    def metrics(self) -> str | None:
        """Return its Prometheus page, None where it has none or does not answer."""
        path = self.engine.api.metrics_path
        body = get(self.base_url + path, api_key=self.facts.api_key) if path is not None else None
        return body.decode(errors="replace") if body is not None else None

    def death(self) -> EngineError:
        """Return the error for an endpoint that answers no more."""
        return EngineError(f"the endpoint {self.base_url} stopped answering in mid-trial", "engine_died")

    def stop(self) -> None:
        """Leave it as it is."""


def _key(place: EndpointPlace) -> str | None:
    if place.api_key_env is None:
        return None
    key = os.environ.get(place.api_key_env)
    if not key:
        raise EngineError(
            f"the variable {place.api_key_env}, which is to hold the key of {place.url}, is not set on this node; set "
            "it before the run (or before Ray, where that runs already)",
            "not_installed",
        )
    return key


def _models(url: str, api_key: str | None) -> Any:
    """Return what it serves. Raises EngineError, saying what to do, where it does not answer or refuses."""
    deadline = time.monotonic() + Endpoint().ready_timeout_s
    while True:
        answer = ask(url + MODELS_PATH, 5.0, api_key)
        if answer.status == 200:
            break
        if answer.status is not None or time.monotonic() > deadline:
            raise _no_models(url, answer, api_key)
        time.sleep(POLL_S)
    document = answer.json()
    if not cards_of(document):
        raise EngineError(f"{url}{MODELS_PATH} lists no model: this is no OpenAI-compatible server", "unsupported")
    return document


def _no_models(url: str, answer: Answer, api_key: str | None) -> EngineError:
    if answer.status in (401, 403):
        what = "it refuses the key" if api_key else "it wants a key: name the variable that holds it as `api_key_env:`"
        return EngineError(f"the endpoint {url} answers {answer.status}: {what}", "unsupported")
    if answer.status is not None:
        text = f"{url}{MODELS_PATH} answers {answer.status}: an OpenAI-compatible server lists its models there"
        return EngineError(text, "unsupported")
    return EngineError(
        f"nobody answers at {url} ({answer.error}): start the server first, and name it as this node reaches it",
        "not_ready",
    )


def _served(place: EndpointPlace, deployment: Deployment, there: list[str], url: str) -> str:
    """Return the name under which it serves the model. Raises EngineError where that cannot be told."""
    wanted = (place.served,) if place.served else (deployment.model.location, deployment.model.name)
    for name in wanted:
        if name in there:
            return name
    if place.served is None and len(there) == 1:
        return there[0]
    raise EngineError(
        f"the endpoint {url} serves {', '.join(there)}, not {wanted[0]}: name one of them as `served:`", "unsupported"
    )


def _behind(document: Any) -> Engine | None:
    for card in cards_of(document):
        if card.get("owned_by") in ENGINE_NAMES and card["owned_by"] != Endpoint.name:
            return engine_named(str(card["owned_by"]))
    return None


def _document(url: str, api_key: str | None) -> Any:
    body = get(url, api_key=api_key)
    if body is None:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def _seen(url: str, found: Listener | None) -> Mapping[str, Any]:
    """Return what of the place is worth a record."""
    return {"url": url, "process": found.name if found is not None else None}
