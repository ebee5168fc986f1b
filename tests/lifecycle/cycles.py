"""Start and stop one engine many times, each time in one of the ways in which engines end, and say what was left.

    python tests/lifecycle/cycles.py ENGINE CYCLES HOME FOLDER      (ENGINE: llamacpp, vllm or sglang)

Prints one JSON line per cycle.
"""

import json
import os
import signal
import sys
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from inventory import Inventory

from joulemark.agents.engines.host import EngineHost
from joulemark.agents.engines.leftovers import end_leftovers, marked
from joulemark.agents.environments import ensure_environment
from joulemark.agents.http import free_port
from joulemark.agents.models import prepare_model
from joulemark.workloads.cell import Deployment, EngineRef, ModelRef, Parallel
from joulemark.workloads.engines.adapter import StartFacts
from joulemark.workloads.engines.catalogue import default_version, engine_named, environment_set

WAYS = ("stopped", "stopped while it answers", "killed", "a worker killed", "keeper killed", "agent killed")
PRECISIONS = {"llamacpp": "q4_0"}


def ask(url, tokens):
    body = {"model": "model", "prompt": [5] * 16, "max_tokens": tokens, "ignore_eos": True, "stream": True}
    request = urllib.request.Request(
        f"{url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            for _ in answer:
                pass
    except OSError:
        # It was ended meanwhile, as it was meant to be.
        return


def one(engine, name, home, folder, way):
    quantization = PRECISIONS.get(name, "bf16")
    model = ModelRef("tiny-dense", "generated", "tiny-dense")
    deployment = Deployment(
        model, quantization, engine.default_kv_type, EngineRef(name, default_version(name, True)), "cpu", Parallel()
    )
    interpreter = ensure_environment(environment_set(name, deployment.engine.version, True), home, lambda _: None)
    path = str(prepare_model(model, quantization, engine.weights_format, home))
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    facts = StartFacts(path, free_port(), slots=2, context_tokens=512, threads=1, cpus=cpus[-1:])
    host = EngineHost.start(engine, deployment, facts, interpreter, folder, {}, lambda _: None)
    ask(host.base_url, 8)
    if way == "stopped while it answers":
        threading.Thread(target=ask, args=(host.base_url, 400), daemon=True).start()
        time.sleep(0.3)
    children = [p for p in marked(host.process.start_id) if p.pid != host.process.pid]
    if way == "killed" or (way == "a worker killed" and not children):
        os.kill(host.process.pid, signal.SIGKILL)
    elif way == "a worker killed":
        children[-1].kill()
        ask(host.base_url, 8)
    elif way in ("keeper killed", "agent killed"):
        host.process._keeper.kill()
    begun = time.monotonic()
    if way == "agent killed":
        # What the next agent does with what it finds; this one does nothing any more.
        host.process._keeper.wait()
        end_leftovers(folder / "starts")
    else:
        host.stop()
    return {
        "ready_s": host.record.ready_s,
        "stop_s": round(time.monotonic() - begun, 2),
        "start": host.process.start_id,
    }


def main():
    name, cycles, home, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    engine = engine_named(name)
    folder.mkdir(parents=True, exist_ok=True)
    ours = (folder, home)
    # The first start fills caches that are meant to stay.
    one(engine, name, home, folder, "stopped")
    before = Inventory.now(ours)
    for cycle in range(cycles):
        way = WAYS[cycle % len(WAYS)]
        said = one(engine, name, home, folder, way)
        threads = [t for t in threading.enumerate() if t.daemon and t.is_alive()]
        for thread in threads:
            thread.join(10)
        left = Inventory.now(ours).new_since(before)
        records = [p.name for p in (folder / "starts").iterdir()]
        print(json.dumps({"cycle": cycle, "way": way, **said, "left": left, "records": records}), flush=True)


if __name__ == "__main__":
    main()
