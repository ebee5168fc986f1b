"""Where each kind of file lies below the warehouse.

::

    sweeps/<sweep>/sweep.yaml, site.yaml, plan.json     what was asked
    trials/<trial>.json                                 manifests, the commit records
    power/<node>/<segment>.parquet                      continuous traces, one folder per node
    rounds/<node>/<segment>.parquet
    device_state/<node>/<segment>.parquet
    requests/<trial>.parquet                            one file per trial
    engine_state/<trial>.parquet
    nodes/<node>-<boot>.parquet, clocks/<node>/...
    logs/<start id>.log                                 the engines' own output
    logs/agent-<node>-<...>.jsonl, driver-<sweep>-<...>.jsonl   what agents and drivers did, a line of JSON each
    built/<dataset>/<batch>.parquet                     made by the build step, can be deleted
    built/batches/<group>/<batch>.json                  which trials a batch holds; without it the batch does not exist
    built/manifests/, built/known/                      what was seen before in manifests and in footers
    kept/...                                            as built/, of trials without their traces; not to be deleted

Continuous traces and files of one trial can also lie in a file ``pack-<id>.parquet`` of the same folder, whose footer
names the files that it took in.
"""

from __future__ import annotations

TRIALS = "trials"
SWEEPS = "sweeps"
LOGS = "logs"
BUILT = (
    "trial_energy",
    "request_energy",
    "phase_estimates",
    "window_variation",
    "cell_statistics",
    "lever_effects",
    "node_differences",
    "sweep_drift",
)
KEPT = "kept"
PACK = "pack-"


def dataset_folder(dataset: str) -> str:
    """Return the folder that holds all files of ``dataset``."""
    return f"built/{dataset}" if dataset in BUILT else dataset


def trial_file(dataset: str, trial: str) -> str:
    """Return the path of the file of a dataset that has one file per trial."""
    return f"{dataset_folder(dataset)}/{trial}.parquet"


def segment_file(dataset: str, node: str, segment: str) -> str:
    """Return the path of one segment of a continuous trace."""
    return f"{dataset_folder(dataset)}/{node}/{segment}.parquet"


def manifest_file(trial: str) -> str:
    """Return the path of a trial's manifest."""
    return f"{TRIALS}/{trial}.json"
