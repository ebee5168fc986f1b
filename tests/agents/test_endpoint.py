"""What an endpoint says, before anything is measured: ready, its models, its key."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from joulemark.agents.devices import endpoint_devices
from joulemark.agents.engines.endpoint import EndpointHost
from joulemark.agents.engines.listener import listener_of
from joulemark.warehouse.errors import EngineError
from joulemark.workloads.cell import Deployment, EngineRef, ModelRef, Parallel
from joulemark.workloads.engines.endpoint import Endpoint, EndpointPlace

KEY = "only-for-this-test-0123456789"


def deployment(accelerator="cpu", version="vllm 0.33.0", devices=1):
    model = ModelRef("llama", "hub", "org/llama")
    engine = EngineRef("endpoint", version)
    return Deployment(model, "bf16", "auto", engine, accelerator, Parallel(tensor=devices))


class Server(ThreadingHTTPServer):
    """Answers as it is told; ``models`` is what it lists."""

    def __init__(self, models=("org/llama",), key=None, status=200, owner="vllm", pages=None):
        self.models, self.key, self.status, self.owner, self.pages = models, key, status, owner, pages or {}
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        if server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
            return self.answer(401, b"{}")
        if self.path == "/v1/models":
            data = [{"id": name, "owned_by": server.owner} for name in server.models]
            return self.answer(server.status, json.dumps({"data": data}).encode())
        page = server.pages.get(self.path)
        return self.answer(200, page) if page is not None else self.answer(404, b"")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def start(place, wanted=None):
    return EndpointHost.start(wanted or deployment(), place, lambda _: None)


def refused(place, wanted=None):
    with pytest.raises(EngineError) as caught:
        start(place, wanted)
    assert "\n" not in str(caught.value)
    return caught.value


def test_what_it_says_is_recorded_and_the_engine_behind_it_is_known():
    pages = {"/version": b'{"version": "0.32.0"}', "/metrics": b"vllm:num_requests_running 3\n"}
    with Server(models=("org/llama", "other"), pages=pages) as server:
        host = start(EndpointPlace(server.url + "/v1/"))
        assert host.base_url == server.url
        assert host.facts.served_name == "org/llama"
        assert host.engine.behind.name == "vllm"
        assert host.engine.api.body["stream_options"]["continuous_usage_stats"] is True
        assert host.record.reported["version"] == "0.32.0"
        assert host.record.reported["models"] == ["org/llama", "other"]
        assert host.engine.mismatches(deployment(), host.record.reported)
        assert host.engine.engine_state({"vllm:num_requests_running": 3.0})["running"] == 3.0
        assert host.metrics().startswith("vllm:num_requests_running")
        assert host.process.alive
        assert not host.process.wait(0.0)
        host.stop()
        assert host.process.alive
    assert host.process.wait(5.0)
    assert host.death().failure_class == "engine_died"


def test_an_unknown_engine_is_asked_for_nothing_special():
    with Server(models=("m",), owner="somebody") as server:
        host = start(EndpointPlace(server.url))
    assert host.engine.behind is None
    assert host.facts.served_name == "m"
    assert host.engine.api.body == {"stream_options": {"include_usage": True}}
    assert set(host.engine.engine_state({"vllm:num_requests_running": 3.0}).values()) == {None}
    assert host.record.reported["owned_by"] == "somebody"


def test_the_key_is_in_a_variable_and_in_no_record(monkeypatch):
    monkeypatch.setenv("MY_ENDPOINT_KEY", KEY)
    page = json.dumps({"version": f"leaks {KEY}"}).encode()
    with Server(key=KEY, pages={"/version": page}) as server:
        host = start(EndpointPlace(server.url, api_key_env="MY_ENDPOINT_KEY"))
        assert host.process.alive
        assert KEY not in repr(host.record)
        assert host.record.reported["version"] == "leaks (hidden)"
        error = refused(EndpointPlace(server.url))
        assert "wants a key: name the variable that holds it as `api_key_env:`" in str(error)
        monkeypatch.setenv("MY_ENDPOINT_KEY", "another-one")
        assert "it refuses the key" in str(refused(EndpointPlace(server.url, api_key_env="MY_ENDPOINT_KEY")))
    monkeypatch.delenv("MY_ENDPOINT_KEY")
    error = refused(EndpointPlace(server.url, api_key_env="MY_ENDPOINT_KEY"))
    assert "MY_ENDPOINT_KEY" in str(error)
    assert error.failure_class == "not_installed"


def test_nobody_answers(monkeypatch):
    monkeypatch.setattr(Endpoint, "ready_timeout_s", 0.6)
    with Server() as server:
        url = server.url
    error = refused(EndpointPlace(url))
    assert error.failure_class == "not_ready"
    assert f"nobody answers at {url}" in str(error)
    assert "refused" in str(error)


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (Server(models=()), "lists no model"),
        (Server(status=500), "answers 500"),
        (Server(models=("a", "b")), "serves a, b, not org/llama: name one of them as `served:`"),
    ],
)
def test_what_cannot_be_measured_is_said(server, words):
    with server:
        error = refused(EndpointPlace(server.url))
    assert words in str(error)
    assert error.failure_class == "unsupported"


def test_the_process_that_listens_is_found_and_proxies_are_not():
    with Server() as server:
        found = listener_of(server.url)
        assert found.pid == os.getpid()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("joulemark.agents.engines.listener.PROXIES", frozenset({found.name}))
            assert listener_of(server.url) is None
    assert listener_of(server.url) is None
    assert listener_of("http://192.0.2.1:80") is None


def test_the_gpus_of_an_endpoint_are_named_or_seen_or_it_is_not_measured():
    nvml = {"boards": {"GPU-a": {}, "GPU-b": {}}}
    place = EndpointPlace("http://h:1", devices=("1",))
    assert endpoint_devices(place, None, deployment("H100"), nvml).uuids == ("GPU-b",)
    assert endpoint_devices(place, None, deployment(), nvml).uuids == ("cpu",)
    for bad, count in ((EndpointPlace("http://h:1"), 1), (place, 2)):
        with pytest.raises(EngineError, match="name its GPUs as `devices:`"):
            endpoint_devices(bad, None, deployment("H100", devices=count), nvml)
