"""A simulated engine as a process of its own, on a GPU file in a temporary folder."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from joulemark.agents.clock import NodeClock
from joulemark.agents.engines.host import LAUNCHERS
from joulemark.agents.http import free_port, get
from joulemark.agents.meters.simulated import SimulatedMeter
from joulemark.agents.simulation.gpu_file import gpu_path
from joulemark.workloads.cell import Deployment, EngineRef, ModelRef, Parallel
from joulemark.workloads.engines.adapter import StartFacts
from joulemark.workloads.engines.simulated import GPUS_VARIABLE, Simulated

LABEL = "H100"


class Server:
    """One simulated engine on ``devices`` of four simulated GPUs."""

    def __init__(self, folder, devices=1, key=None, **args):
        reference = ModelRef("llama-3.1-8b", "hub", "x")
        self.deployment = Deployment(
            reference, "bf16", "auto", EngineRef("simulated", "1", args), LABEL, Parallel(tensor=devices)
        )
        self.port = free_port()
        self.key = key
        command = Simulated().command(self.deployment, StartFacts("m", self.port, 8, 400, api_key=key))
        self.meter = SimulatedMeter.of(folder, "node", {LABEL: 4})
        paths = ":".join(str(gpu_path(folder, LABEL, index)) for index in range(devices))
        argv = [a.replace("{launcher}", str(LAUNCHERS["simulated"])) for a in command.argv]
        self.process = subprocess.Popen(
            [sys.executable, *argv],
            env={**os.environ, **command.environment, GPUS_VARIABLE: paths},
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def wait_ready(self):
        deadline = time.monotonic() + 30
        while get(f"{self.url}/health") is None:
            assert self.process.poll() is None, self.process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self

    def ask(self, body, path="/v1/completions", key=None):
        """Return status and body of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"authorization": f"Bearer {key or self.key}"} if key or self.key else {}
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        found = answer.status, answer.read().decode()
        connection.close()
        return found

    def metrics(self):
        page = get(f"{self.url}/metrics", api_key=self.key).decode()
        return {name: float(value) for name, value in (line.split() for line in page.splitlines())}

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=20)
        return out


@pytest.fixture
def serve(tmp_path):
    servers = []

    def start(**args):
        servers.append(Server(tmp_path, **args))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate(timeout=20)


@pytest.fixture
def clock(tmp_path):
    return NodeClock.of_this_node(tmp_path)
