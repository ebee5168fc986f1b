"""What energy_error_live.py starts beside the sampler: real zeus, or one power reading a second. Prints JSON lines."""

from __future__ import annotations

import json
import sys
import time


def ready() -> int:
    """Say that everything is loaded; return the instant to count seconds from."""
    print(json.dumps({"ready": True}), flush=True)
    return int(sys.stdin.readline())


def zeus(plan: list[tuple[float, str, str]]) -> None:
    """Begin and end windows as planned: (seconds, ``begin`` or ``end``, name). Runs where zeus is installed."""
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor(cpu_indices=[])
    begin_ns = ready()
    for seconds, what, name in plan:
        time.sleep(max(0.0, (begin_ns - time.monotonic_ns()) / 1e9 + seconds))
        before_ns = time.monotonic_ns()
        if what == "begin":
            monitor.begin_window(name, sync_execution=False)
            energy_j = None
        else:
            energy_j = monitor.end_window(name, sync_execution=False).gpu_energy
        middle_ns = (before_ns + time.monotonic_ns()) // 2
        print(json.dumps({"name": name, "what": what, "at_ns": middle_ns, "energy_j": energy_j}), flush=True)


def once_a_second(seconds: float) -> None:
    """Read every board's power usage, as nvidia-smi shows it, once a second."""
    import pynvml

    pynvml.nvmlInit()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    begin_ns = ready()
    for number in range(int(seconds)):
        time.sleep(max(0.0, (begin_ns - time.monotonic_ns()) / 1e9 + number))
        at_ns = time.monotonic_ns()
        print(
            json.dumps({"at_ns": at_ns, "power_mw": [pynvml.nvmlDeviceGetPowerUsage(h) for h in handles]}), flush=True
        )


if __name__ == "__main__":
    order = json.loads(sys.stdin.readline())
    if order["what"] == "zeus":
        zeus(order["plan"])
    else:
        once_a_second(order["seconds"])
