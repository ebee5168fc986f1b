"""The closed vocabularies: scopes, boundaries, fidelities, outcomes, validity reasons, failure classes, grades."""

from __future__ import annotations

SCOPES: dict[str, str] = {
    "gpu_board": "one GPU board, as its own sensor sees it",
    "gpu_module": "a superchip module: GPU, CPU and memory together",
    "gpu_memory": "the memory of one GPU; part of gpu_board",
    "cpu_package": "one CPU socket; contains its cores",
    "cpu_core": "the cores of one socket; part of cpu_package",
    "cpu_process": "the engine's process tree only, modelled from its CPU time",
    "dram": "main memory",
    "platform": "RAPL psys: everything on the board; contains cpu_package and dram",
    "node_ac": "one whole node, at its power plug",
    "rack_ac": "a rack or PDU",
}

BOUNDARIES: dict[str, str] = {
    "cpu": "cpu_package, or cpu_process where no counter can be read",
    "gpu": "gpu_board of exactly the GPUs that the deployment holds",
    "gpu+cpu": "gpu_board and cpu_package, or one gpu_module",
    "node": "node_ac",
    "facility": "node_ac x PUE",
}

FIDELITIES: dict[str, str] = {
    "counter": "difference of a hardware energy counter",
    "sampled": "integral of hardware power readings",
    "metered": "an external meter",
    "modelled": "computed from activity and a table of watts; not measured",
    "simulated": "produced by the simulator; not a measurement",
    "imported": "taken from another tool or publication; not measured by joulemark",
}

OUTCOMES: dict[str, str] = {
    "done": "the trial ran to its end",
    "failed": "the trial did not run to its end; see failure_class and error",
}

FAILURE_CLASSES: dict[str, tuple[str, bool]] = {
    "engine_died": ("the engine ended while requests were running", True),
    "not_ready": ("the engine did not become ready in time", True),
    "port_taken": ("the engine could not listen on its port", True),
    "device_busy": ("a GPU still held memory of an earlier engine, or of another program, when it was to start", True),
    "node_lost": ("the node or its agent was lost", True),
    "client_failed": ("the load client ended by itself", True),
    "power_invalid": ("the trial ran, and its records do not support a figure", True),
    "out_of_memory": ("the engine ran out of memory", False),
    "not_installed": ("the engine's environment could not be made or is not there", False),
    "unsupported": ("the engine cannot run this combination", False),
    "model_unavailable": ("the model could not be fetched: gated, not there, or the hub cannot be reached", False),
    "driver_mismatch": ("the node's GPU driver does not fit the engine", False),
    "bad_checkpoint": ("the engine could not load the model's files", False),
    "disk_full": ("no space was left for records", False),
    "engine_crashed": ("the engine crashed in its own code, by a signal such as a segmentation fault", False),
    "engine_failed": ("the engine ended while it started, for a reason that was not recognised", False),
    "interrupted": ("the user stopped the sweep", False),
}
"""Class -> (meaning, whether a retry in the same run can help)."""

REASONS: dict[str, str] = {
    "sample_gap": "two readings of a meter lie further apart than max(3 s, 5 update periods) inside the window",
    "edge_not_bracketed": "no reading before the window's start or after its end",
    "device_missing": "a device of the deployment has no readings in the window",
    "counter_reset": "an energy counter went backwards inside the window",
    "counter_disagrees": "counter and integral of power differ by more than 5 %, and by more than they may be off",
    "window_too_short": "the window is shorter than 10 median request durations, or than asked",
    "not_steady": "requests in flight were under 95 % of the target, or in an open loop grew in number",
    "schedule_late": "more than 1 % of the requests, and more than one, were sent over 5 ms after they were due",
    "client_bound": "the load client was the limit: event-loop lag p99 over 5 ms, or its CPU over 80 %",
    "throttled_thermal": "a device throttled for heat inside the window",
    "requests_failed": "requests of the window failed",
    "requests_truncated": "answers of the window ended before the fixed length that was asked for",
    "token_mismatch": "timed and untimed tokens do not add up to the engine's own usage count",
    "foreign_process": "someone else used the device inside the window",
    "clock_uncertain": "the clock offset between the nodes of the trial is not known well enough",
    "config_mismatch": "the engine, or a GPU's power limit, is something else than was asked",
    "mig_shared": "the device is a MIG slice: its power is that of the whole board",
    "no_power": "no meter gave a reading for the trial's devices",
    "node_not_filled": "idle devices are in the number (only for boundaries beyond the device)",
    "node_shared": "other engines ran on the node at the same time: only figures of the device are this trial's",
    "client_on_node": "the load client's energy is in the number (only for boundaries beyond the device)",
}
"""Reason -> meaning. An empty list of reasons is what `valid` means."""

BOUNDARY_REASONS = frozenset({"node_not_filled", "node_shared", "client_on_node"})
"""Reasons that only speak against boundaries wider than the device."""

GRADES: dict[str, str] = {
    "quick": "valid, and less than standard",
    "standard": "at least 3 valid repeats of at least 60 s each, their number fixed beforehand",
    "publishable": "standard, with at least 3 engine starts and at least 600 s in all",
}

REQUEST_STATUSES: dict[str, str] = {
    "ok": "the whole answer arrived",
    "truncated": "the answer ended well, but before the fixed length that was asked for",
    "failed": "the engine refused it, or answered with an error",
    "broken": "the connection broke, or what came could not be read",
    "timeout": "the answer did not end in time",
    "cancelled": "ended by the client when the trial ended",
}
