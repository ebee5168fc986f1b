"""A process with a Ray of its own that exports every metric, again and again, until its standard input ends."""

import sys
import threading
import time

from joulemark.orchestrator import ray_environment

ray_environment.prepare(None)

import ray  # noqa: E402 -- Ray reads its settings when it is imported

from joulemark.agents.orders import AgentProgress  # noqa: E402 -- as above
from joulemark.orchestrator.metrics import of_agent, of_sweep, of_trial  # noqa: E402 -- as above
from joulemark.orchestrator.progress import NodeLine, Snapshot  # noqa: E402 -- as above
from joulemark.orchestrator.ray_metrics import Exporter  # noqa: E402 -- as above

BRIGHT = AgentProgress("window, 3 s left", 40.0, 200.0, sampler_restarts=1)
DARK = AgentProgress("idle", sampler_restarts=0)
"""An agent whose meters give nothing."""
FADES_S = 8.0
"""How long the meters of a third agent give something."""
NODES = [NodeLine("bright", "window"), NodeLine("dark", "idle")]
NOW = Snapshot("s", "running", "h", 1, 0.0, 8, 2, 3, 1, 1, 90.0, NODES)


class Failed:
    sweep, failure_class = "s", "out_of_memory"


def main(port, folder):
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    ray.init(
        address="local",
        num_cpus=1,
        object_store_memory=100_000_000,
        include_dashboard=False,
        log_to_driver=False,
        _metrics_export_port=port,
        _temp_dir=folder,
        _system_config={"metrics_report_interval_ms": 1000},
    )
    exporter, begun = Exporter(), time.monotonic()
    exporter.export(of_trial(Failed))
    while not over.wait(0.5):
        exporter.export(of_sweep(NOW))
        exporter.export(of_agent("s", "bright", BRIGHT))
        exporter.export(of_agent("s", "dark", DARK))
        exporter.export(of_agent("s", "fading", BRIGHT if time.monotonic() - begun < FADES_S else DARK))
    ray.shutdown()


main(int(sys.argv[1]), sys.argv[2])
