"""Faults at random while a sweep runs, by a seed: hosts, networks, raylets, agents, engines, samplers and drivers."""

import random
import signal
import time
from collections import Counter
from pathlib import Path

import psutil
from hosts import wait_for
from ray_hosts import nothing_left

EVERY_S = (2.0, 10.0)
SHORT_CUT_S, LONG_CUT_S = 2.0, 12.0
ALL_S = 3600


class Chaos:
    """One run: ``sweep`` is driven until it is complete, whatever happens meanwhile."""

    def __init__(self, cluster, name, seed, faults):
        self.cluster, self.name, self.faults = cluster, name, faults
        self.chance = random.Random(seed)  # noqa: S311 -- faults that can be had again
        self.done = Counter()
        self.drivers = []
        self.kinds = {
            "a host's plug is pulled": self.plug,
            "the network is cut for seconds": lambda: self.cut(SHORT_CUT_S),
            "the network is cut until the node is lost": lambda: self.cut(LONG_CUT_S),
            "a raylet is killed": self.raylet,
            "an agent is killed": lambda: self.process("_AgentActor"),
            "a sampler is killed": lambda: self.process("joulemark.agents.sampler"),
            "a load client is killed": lambda: self.process("joulemark.agents.client"),
            "an engine is killed": lambda: self.process("JOULEMARK_START"),
            "the driver is killed": self.driver,
            "the driver hangs for a while": self.hang,
        }

    def run(self):
        """Drive the sweep to its end; return what the drivers said."""
        deadline = time.monotonic() + ALL_S
        self.start()
        while True:
            assert time.monotonic() < deadline, f"not complete in {ALL_S} s: {self.done}"
            code = self.drivers[-1].poll()
            if code == 0 and sum(self.done.values()) >= self.faults:
                break
            if code is not None:
                said = self.drivers[-1].text()
                assert code in (0, 1, 2, -signal.SIGKILL), said
                assert "Traceback" not in said, said
                if code == 0:
                    break
                self.start()
            if sum(self.done.values()) < self.faults:
                self.fault()
            else:
                time.sleep(0.5)
        nothing_left(self.cluster.hosts, 150)
        return [d.text() for d in self.drivers]

    def start(self):
        """Start a driver on a host that drives now for the first time, or again."""
        host = self.cluster.hosts[1]
        sweep = self.cluster.network.base / f"{self.name}.yaml"
        records = self.cluster.records_of(self.name)
        self.drivers.append(
            self.cluster.joulemark("run", sweep, "--cluster", self.cluster.address, host=host, records=records)
        )

    def fault(self):
        """Wait a while and do one thing; what cannot be done now is not counted."""
        time.sleep(self.chance.uniform(*EVERY_S))
        kind = self.chance.choice(sorted(self.kinds))
        if self.kinds[kind]() is not False:
            self.done[kind] += 1
            print(f"{time.strftime('%H:%M:%S')} {kind}", flush=True)

    def victim(self):
        """Return a host that neither drives nor is the head."""
        return self.chance.choice(self.cluster.hosts[2:])

    def plug(self):
        """Pull a plug, and put it in again."""
        host = self.victim()
        host.kill()
        time.sleep(self.chance.uniform(0, 8))
        self.cluster.restart(host)

    def cut(self, seconds):
        """Cut a host off for so long; a node that was given up meanwhile ends by itself and joins again."""
        host = self.victim()
        host.cut()
        time.sleep(seconds)
        host.heal()
        if seconds == LONG_CUT_S:
            self.again(host)

    def raylet(self):
        """Kill a raylet; the node joins again."""
        host = self.victim()
        running = self.cluster.raylets[host.name]
        found = [p for p in running.tree() if p.name().startswith("raylet")] if running.poll() is None else []
        for process in found:
            process.kill()
        # On a busy machine a short cut may have ended it already.
        self.again(host)
        return bool(found)

    def again(self, host):
        """Start Ray again on a host whose Ray has ended, or will."""
        raylet = self.cluster.raylets[host.name]
        try:
            raylet.process.wait(60)
        except Exception:  # noqa: BLE001 -- it was not given up: then it goes on
            return
        self.cluster.up([host])

    def process(self, mark):
        """Kill a process of ours on some host: one whose command line or environment has the mark."""
        found = [p for h in self.cluster.hosts[1:] for p in h.processes() if _has(p, mark)]
        if not found:
            return False
        try:
            self.chance.choice(found).kill()
        except psutil.NoSuchProcess:
            return False
        return True

    def driver(self):
        """Kill the driver; the next one goes on."""
        if self.drivers[-1].poll() is not None:
            return False
        self.drivers[-1].signal(signal.SIGKILL)
        self.drivers[-1].wait(30)
        return True

    def hang(self):
        """Have the driver stand still, for less than a lease."""
        if self.drivers[-1].poll() is not None:
            return False
        self.drivers[-1].hang()
        time.sleep(self.chance.uniform(1, 15))
        self.drivers[-1].go_on()
        return True


def _has(process, mark):
    try:
        line = " ".join(process.cmdline())
        environment = Path(f"/proc/{process.pid}/environ").read_text("latin1")
    except (psutil.Error, OSError):
        return False
    return mark in line or (mark.isupper() and f"{mark}=" in environment)


def whole_again(cluster):
    """Wait until every host is in the cluster, so that the next test finds it whole."""
    for host in cluster.hosts:
        if host.holder.poll() is not None:
            cluster.restart(host)
        elif cluster.raylets[host.name].poll() is not None:
            cluster.up([host])
    wait_for(lambda: all(cluster.raylets[h.name].poll() is None for h in cluster.hosts), 60)
