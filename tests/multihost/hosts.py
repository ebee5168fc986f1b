"""Several hosts on one machine: network namespaces on a bridge, each with an address, processes and disks of its own.

A host is a process that does nothing but hold the namespaces; everything else is started inside it. Ending that
process is pulling the host's plug. Needs root and iproute2; ``why_not`` says what is missing.
"""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

NETWORK = "10.77.0"
FIRST = 10
NUMBERS = itertools.count()
INIT = """
set -e
hostname "$1"
mount -t tmpfs -o size=512m tmpfs /dev/shm
shift
while [ $# -gt 0 ]; do
  case $1 in
    tmpfs) mount -t tmpfs -o "size=$3" tmpfs "$2" ;;
    *) mount --bind "$1" "$2" ;;
  esac
  shift 3
done
exec python3 -c '
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("up", flush=True)
while True: signal.pause()'
"""
"""Ends as the first process of the host's process namespace: it must let the dead go."""


def why_not():
    """Return why hosts cannot be made here; None where they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in ("ip", "unshare", "nsenter") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not found: apt-get install iproute2 util-linux"
    name = f"jmtry{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"network namespaces are not permitted here: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return None


def wait_for(condition, seconds=120, what="it"):
    """Return the condition's value once it has one."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s"
        time.sleep(0.1)
    return value


@dataclass
class Running:
    """A command inside a host."""

    process: subprocess.Popen
    log: Path

    @property
    def pid(self):
        """Return its process id on this machine."""
        children = wait_for(lambda: psutil.Process(self.process.pid).children(), 10)
        return children[0].pid

    def signal(self, number):
        """Send the command itself a signal."""
        os.kill(self.pid, number)

    def tree(self):
        """Return all living processes that it started, and itself."""
        own = psutil.Process(self.pid)
        return [own, *own.children(recursive=True)]

    def hang(self):
        """Have it and all that it started stand still."""
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)

    def go_on(self):
        """Let it go on; what it was started with stands still with it, and would never notice its end."""
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGCONT)

    def poll(self):
        """Return its exit code; None while it runs."""
        return self.process.poll()

    def wait(self, seconds=300):
        """Return its exit code; negative where a signal ended it."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"it did not end in {seconds} s:\n{self.text()}") from error

    def text(self):
        """Return what it has written."""
        return self.log.read_text(errors="replace")

    def said(self, words, seconds=120):
        """Wait until it has written these words."""
        deadline = time.monotonic() + seconds
        while words not in self.text():
            assert self.poll() is None, f"it ended ({self.poll()}) before it said {words!r}:\n{self.text()}"
            assert time.monotonic() < deadline, f"it did not say {words!r} in {seconds} s:\n{self.text()}"
            time.sleep(0.1)


@dataclass
class Host:
    """One host. ``mounts`` are (source, target) folders of its own, or ("tmpfs", target, size)."""

    name: str
    namespace: str
    number: int
    folder: Path
    environment: dict
    mounts: list
    holder: subprocess.Popen | None = None
    commands: list = field(default_factory=list)

    @property
    def address(self):
        """Return its address."""
        return f"{NETWORK}.{FIRST + self.number}"

    def plug_in(self):
        """Start the host."""
        mounts = [str(part) for mount in self.mounts for part in (*mount, "-")[:3]]
        argv = ["unshare", "--pid", "--fork", "--mount-proc", "--uts", "--ipc", "--mount", "--kill-child=SIGKILL"]
        self.holder = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *argv, "bash", "-c", INIT, "init", self.name, *mounts],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.holder.stdout.readline() == b"up\n", f"{self.name} did not come up"

    @property
    def init(self):
        """Return the id of the process that holds the namespaces."""
        return psutil.Process(self.holder.pid).children()[0].pid

    def start(self, *argv, environment=None, cwd=None):
        """Start a command inside."""
        log = self.folder / f"{len(self.commands):02d}-{Path(str(argv[0])).name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["nsenter", "-t", str(self.init), "-p", "-n", "-m", "-u", "-i", *map(str, argv)],
                env={**self.environment, **(environment or {})},
                cwd=cwd or self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.commands.append(Running(process, log))
        return self.commands[-1]

    def run(self, *argv, environment=None, cwd=None, seconds=300):
        """Run a command inside to its end."""
        running = self.start(*argv, environment=environment, cwd=cwd)
        running.wait(seconds)
        return running

    def cut(self):
        """Take the host off the network."""
        self._switch("down")

    def heal(self):
        """Put it on the network again."""
        self._switch("up")

    def processes(self):
        """Return what runs on the host beside its first process."""
        inside = os.readlink(f"/proc/{self.init}/ns/pid")
        found = []
        for process in psutil.process_iter():
            try:
                here = os.readlink(f"/proc/{process.pid}/ns/pid") == inside and process.pid != self.init
                if here and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (OSError, psutil.Error):
                # It has just ended.
                continue
        return found

    def kill(self):
        """Pull the plug: everything on it ends at once."""
        for command in self.commands:
            if command.poll() is None:
                # One whose command was stopped stands still with it, and would never notice its end.
                command.process.send_signal(signal.SIGCONT)
        if self.holder is not None and self.holder.poll() is None:
            os.kill(self.init, signal.SIGKILL)
            self.holder.wait(30)
        for command in self.commands:
            command.process.wait(30)

    def _switch(self, state):
        subprocess.run(["ip", "-n", self.switch, "link", "set", f"v{self.number}", state], check=True)

    @property
    def switch(self):
        """Return the namespace of the bridge."""
        return self.namespace.rpartition("n")[0] + "s"


class Network:
    """Hosts ``node0`` to ``node<n-1>`` on one bridge; nothing of it is left after ``close``."""

    def __init__(self, hosts, environment, mounts=lambda _: [], base=None):
        self.base = Path(base or tempfile.mkdtemp(prefix="jm", dir="/tmp"))
        self.prefix = f"jm{os.getpid()}x{next(NUMBERS)}"
        self._remove_dead()
        self._bridge()
        self.hosts = []
        for number in range(hosts):
            folder = self.base / f"node{number}"
            folder.mkdir(parents=True)
            namespace = f"{self.prefix}n{number}"
            self._connect(namespace, number)
            host = Host(f"node{number}", namespace, number, folder, dict(environment), mounts(folder))
            host.plug_in()
            self.hosts.append(host)

    def close(self):
        """End all hosts and remove their network."""
        for host in self.hosts:
            host.kill()
        for name in (f"{self.prefix}s", *(h.namespace for h in self.hosts)):
            subprocess.run(["ip", "netns", "del", name], check=False)
        shutil.rmtree(self.base, ignore_errors=True)

    def _bridge(self):
        switch = f"{self.prefix}s"
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "set", "lo", "up")
        _ip("-n", switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", switch, "link", "set", "br0", "up")

    def _connect(self, namespace, number):
        switch = f"{self.prefix}s"
        _ip("netns", "add", namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
        plug = ("peer", "name", "eth0", "netns", namespace)
        _ip("link", "add", f"v{number}", "netns", switch, "type", "veth", *plug)
        _ip("-n", switch, "link", "set", f"v{number}", "master", "br0", "up")
        _ip("-n", namespace, "addr", "add", f"{NETWORK}.{FIRST + number}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        # Nobody is there; Ray finds its own address by the route.
        _ip("-n", namespace, "route", "add", "default", "via", f"{NETWORK}.1")

    def _remove_dead(self):
        """Remove what a test run left that was killed."""
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
        for name in (line.split()[0] for line in listed.splitlines() if line.startswith("jm")):
            owner = name[2:].partition("x")[0]
            if owner.isdigit() and not psutil.pid_exists(int(owner)):
                subprocess.run(["ip", "netns", "del", name], check=False)


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def program(name):
    """Return a program of this Python's environment."""
    return str(Path(sys.executable).with_name(name))
