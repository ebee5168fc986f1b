"""SQL views, one per file. Each begins with comments: what a row is, then one line per column."""

from __future__ import annotations

from importlib import resources

ORDER = (
    "trial_nodes",
    "length_in_words",
    "trials",
    "device_findings",
    "tokens",
    "request_latency",
    "trial_tokens",
    "goodput",
    "trial_goodput",
    "trial_components",
    "trial_power",
    "power_shape",
    "node_findings",
    "trial_results",
    "cell_results",
    "leaderboard",
    "leaderboard_with_imported",
    "failures",
    "electricity_kwh",
    "trial_cost",
    "cost",
    "utilisation_adjusted",
    "cost_owned",
    "cost_per_response",
    "goodput_results",
    "smallest_adequate",
    "phase_energy",
    "attempts",
    "response_energy",
    "response_cost",
    "facility_power",
    "node_results",
    "lever_summary",
    "trial_outliers",
    "accelerator_peaks",
    "cell_compute",
    "token_production",
    "facility",
    "constraint_evidence",
    "active_constraint",
)
"""Names of the views and macros, each after those that it uses."""

MACROS = (
    "length_in_words",
    "goodput",
    "electricity_kwh",
    "cost",
    "utilisation_adjusted",
    "cost_owned",
    "cost_per_response",
    "smallest_adequate",
    "attempts",
    "response_energy",
    "response_cost",
    "facility_power",
    "token_production",
    "facility",
)
"""Those of them that are called with arguments."""

CONSTANT = ("accelerator_peaks",)
"""Those of them that hold the same rows in every warehouse."""

STORED = (
    "trial_nodes",
    "trials",
    "device_findings",
    "trial_tokens",
    "trial_goodput",
    "trial_components",
    "trial_power",
    "power_shape",
    "node_findings",
    "trial_results",
    "constraint_evidence",
    "active_constraint",
)
"""Those whose rows the build step writes, trial by trial: they have a column `trial`, and rest on nothing but records
of that trial (and on its sweep's limits on latency). They are quick to ask, and stay when raw traces are dropped."""

WHOLE = ("cell_results", "node_results", "cell_compute", "phase_energy")
"""Those whose rows the build step writes for all trials at once: over many trials each takes a second to compute."""


def view_text(name: str) -> str:
    """Return the SQL of a view, comments included."""
    return resources.files("joulemark.warehouse.views").joinpath(f"{name}.sql").read_text(encoding="utf-8")
