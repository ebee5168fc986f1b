"""A Ray cluster over several hosts of one machine, and joulemark on it as a user has it."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
from hosts import Network, program, wait_for

from joulemark.agents.clock import boot_id

QUICK = {
    # What Ray takes minutes to notice otherwise; docs/cluster.md has slower settings.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_grpc_client_keepalive_time_ms": "3000",
    "RAY_grpc_client_keepalive_timeout_ms": "2000",
}
LIGHT = {
    # Two cores carry all hosts.
    "RAY_event_stats": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "120",
}
SHARED = ("environments", "models")
"""What of JOULEMARK_HOME the hosts share with other tests, so that engines are installed once."""


class Cluster:
    """``count`` hosts: the head is the first. Each has a JOULEMARK_HOME, a Ray folder and a home of its own.

    ``boards`` are, by the number of a host, its GPUs, their label, and the variables with which they are found.
    """

    def __init__(self, count, cache, boards=None):
        base = Path(tempfile.mkdtemp(prefix="jm", dir="/tmp"))
        self.boards = boards or {}
        self.user, self.ray, self.home = base / "user", base / "ray", base / "home"
        self.hidden = base / "hidden"
        for folder in (self.user, self.ray, self.home, self.hidden):
            folder.mkdir()
        for name in SHARED:
            (cache / name).mkdir(parents=True, exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "JOULEMARK_"))}
        self.environment = {
            **kept,
            **QUICK,
            **LIGHT,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "HOME": str(self.user),
            "JOULEMARK_HOME": str(self.home),
            "PYTHONUNBUFFERED": "1",
        }
        self.cache = cache
        self.raylets = {}
        self.network = Network(count, self.environment, self._mounts, base)
        self.hosts = self.network.hosts

    def _mounts(self, folder):
        own = []
        for target in (self.user, self.ray, self.home, self.hidden):
            source = folder / target.name
            source.mkdir()
            own.append((source, target))
        for name in SHARED:
            (folder / "home" / name).mkdir()
            own.append((self.cache / name, self.home / name))
        return own

    @property
    def head(self):
        """Return the host of the head."""
        return self.hosts[0]

    @property
    def address(self):
        """Return what ``--cluster`` takes."""
        return f"{self.head.address}:6379"

    def up(self, hosts=None):
        """Start Ray on these hosts (default: all) and wait until they are in the cluster."""
        hosts = self.hosts if hosts is None else hosts
        for host in hosts:
            place = ["--head", "--port=6379"] if host is self.head else [f"--address={self.address}"]
            storage = {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(self.ray / "gcs")}
            gpus, label, boards = self.boards.get(host.number, (0, None, {}))
            self.raylets[host.name] = host.start(
                *(program("ray"), "start", *place, f"--node-ip-address={host.address}", "--num-cpus=2"),
                *(f"--num-gpus={gpus}", "--object-store-memory=100000000", "--disable-usage-stats", "--block"),
                *((f"--labels=ray.io/accelerator-type={label}",) if label else ()),
                *(("--include-dashboard=false", f"--temp-dir={self.ray}") if host is self.head else ()),
                environment={**(storage if host is self.head else {}), **boards},
            )
            self.raylets[host.name].said("--block", 90)

    def restart(self, host):
        """Plug a host in again that was killed, and have it join the cluster."""
        host.plug_in()
        self.up([host])

    def ray_process(self, host, name):
        """Return the process of this name among those that our ``ray start`` on the host started."""
        return next(p for p in self.raylets[host.name].tree() if p.name().startswith(name))

    def records_of(self, name):
        """Return the folder of a warehouse that all hosts see."""
        return self.network.base / f"records-{name}"

    def joulemark(self, *arguments, records, host=None, environment=None):
        """Start a joulemark command on a host (default: the second)."""
        host = host or self.hosts[1]
        return host.start(
            program("joulemark"),
            *arguments,
            environment={"JOULEMARK_WAREHOUSE": str(records), **(environment or {})},
            cwd=host.folder,
        )

    def sweep(self, text, name="sweep"):
        """Write a sweep file that all hosts see."""
        path = self.network.base / f"{name}.yaml"
        path.write_text(text)
        return path

    def sql(self, query, name):
        """Return the rows of a query to a warehouse that all hosts see, asked from outside."""
        done = subprocess.run(
            [program("joulemark"), "sql", query, "--json", "-w", str(self.records_of(name))],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def close(self):
        """End everything."""
        self.network.close()
        shutil.rmtree(self.network.base, ignore_errors=True)


@contextmanager
def clock_ahead(host, seconds):
    """Have a host's clock be ahead of the others' for agents that start meanwhile."""
    path = host.folder / "home" / "clock" / f"{boot_id()}.json"
    before = path.read_text() if path.exists() else None
    anchor = {"boot": boot_id(), "monotonic_ns": time.monotonic_ns(), "wall_ns": time.time_ns()}
    anchor = json.loads(before) if before else anchor
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(anchor | {"wall_ns": anchor["wall_ns"] + int(seconds * 1e9)}))
    try:
        yield
    finally:
        path.write_text(before) if before else path.unlink()


def of_ours(host):
    """Return what runs on a host of our agents, samplers, load clients and engines, as command lines."""
    found = []
    for process in host.processes():
        try:
            line = " ".join(process.cmdline())
            environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        except (psutil.Error, OSError):
            continue
        if "joulemark.agents" in line or b"JOULEMARK_START=" in environment or "_AgentActor" in line:
            found.append(line[:100])
    return found


def nothing_left(hosts, seconds=60):
    """Wait until nothing of ours runs on these hosts."""
    wait_for(lambda: not any(of_ours(h) for h in hosts), seconds, "the end of all that was started")


STOP, GO = signal.SIGSTOP, signal.SIGCONT
