"""What the build step computes from traces and manifests; always reproducible from them."""

from __future__ import annotations

import pyarrow as pa

from joulemark.warehouse.schema.columns import INSTANT, WORD, Column, Dataset

TRIAL_ENERGY = Dataset(
    name="trial_energy",
    row="energy of one interval of a trial, by device, meter and method",
    version=3,
    columns=(
        Column("trial", WORD, "trial"),
        Column("node", WORD, "node of the meter"),
        Column("interval", WORD, "`window`, `cold_idle` (no engine) or `loaded_idle` (engine without requests)"),
        Column("meter", WORD, "meter"),
        Column("device", WORD, "device, as in `power`"),
        Column("scope", WORD, "what the number contains"),
        Column("fidelity", WORD, "how the readings arise"),
        Column("method", WORD, "`counter`: difference of the counter; `integral`: of power over time"),
        Column("start_at", INSTANT, "start of the interval"),
        Column("end_at", INSTANT, "end of the interval"),
        Column("energy_j", pa.float64(), "energy in joules; NULL where the readings do not support it", nullable=True),
        Column(
            "uncertainty_j",
            pa.float64(),
            "half width at 95 %: `edge_j`, `transient_j` and `clock_j` as independent; without gain and offset",
            nullable=True,
        ),
        Column(
            "edge_j",
            pa.float64(),
            "its part from the edges: the meter's update period, and how late it may show what it saw",
            nullable=True,
        ),
        Column(
            "transient_j",
            pa.float64(),
            "its part from power that the sensor did not look at, from how much the readings vary; 0 for a counter",
            nullable=True,
        ),
        Column(
            "clock_j",
            pa.float64(),
            "its part from the clocks: their uncertainty times the difference of power at the edges; 0 with one clock",
            nullable=True,
        ),
        Column(
            "gain_fraction",
            pa.float64(),
            "bound of the sensor's gain error, common to the device and kind of sensor; NULL: no source known",
            nullable=True,
        ),
        Column("offset_w", pa.float64(), "bound of the sensor's offset in watts, likewise", nullable=True),
        Column(
            "disagreement",
            pa.float64(),
            "integral / counter - 1 of the same readings; NULL where there are not both",
            nullable=True,
        ),
        Column(
            "chosen",
            pa.bool_(),
            "whether this method's figure counts: the counter's, unless it has none or its uncertainty is over 0.5 % "
            "and the integral's is smaller",
        ),
        Column("coverage", pa.float64(), "share of the interval that lies between readings not too far apart, 0 to 1"),
        Column("samples", pa.int32(), "readings used"),
        Column("p50_w", pa.float64(), "power not exceeded for half of the interval", nullable=True),
        Column("p90_w", pa.float64(), "for 90 % of it", nullable=True),
        Column("p99_w", pa.float64(), "for 99 % of it", nullable=True),
        Column("burst_share", pa.float64(), "share of the interval with power over 1.1 times its mean", nullable=True),
        Column("peak_w", pa.float64(), "highest power reading in the interval", nullable=True),
        Column("reasons", pa.list_(pa.string()), "what speaks against the figure"),
    ),
    sort_by=("trial", "interval", "node", "meter", "device", "scope", "method"),
)

REQUEST_ENERGY = Dataset(
    name="request_energy",
    row="one request's share of its trial's window; one row with `request` NULL for what was not allocated",
    version=1,
    columns=(
        Column("trial", WORD, "trial"),
        Column("node", WORD, "node of the load client"),
        Column("request", pa.int32(), "number of the request; NULL: energy while no request was active", nullable=True),
        Column("boundary", WORD, "boundary whose energy is shared out"),
        Column("energy_j", pa.float64(), "share of the window's energy in joules"),
        Column("prefill_j", pa.float64(), "part of it for the prompt; NULL where not supported", nullable=True),
        Column("decode_j", pa.float64(), "part of it for the answer; NULL where not supported", nullable=True),
        Column("method", WORD, "how it was shared: `equal_active`"),
    ),
    sort_by=("trial", "request"),
)

PHASE_ESTIMATES = Dataset(
    name="phase_estimates",
    row="a trial's energy by phase, estimated by a regression inside its window: an estimate, not a measurement",
    version=1,
    columns=(
        Column("trial", WORD, "trial"),
        Column("boundary", WORD, "boundary whose energy is explained"),
        Column(
            "prefill_j_per_token",
            pa.float64(),
            "energy of one token of the prompt; NULL where the window does not tell",
            nullable=True,
        ),
        Column("prefill_half_j", pa.float64(), "half width of its 95 % interval", nullable=True),
        Column("decode_j_per_token", pa.float64(), "energy of one token of the answer", nullable=True),
        Column("decode_half_j", pa.float64(), "half width of its 95 % interval", nullable=True),
        Column("bins", pa.int32(), "stretches that the window was cut into"),
        Column("bin_s", pa.float64(), "length of each in seconds"),
        Column(
            "reason",
            WORD,
            "why there is no figure: `few_bins` (under 30), `one_phase` (no tokens of the other), `phases_in_step` "
            "(the mix does not vary)",
            nullable=True,
        ),
    ),
    sort_by=("trial",),
)

WINDOW_VARIATION = Dataset(
    name="window_variation",
    row="how well J per output token of one trial is known from its window alone, by batch means",
    version=1,
    columns=(
        Column("trial", WORD, "trial"),
        Column("boundary", WORD, "its narrowest boundary"),
        Column("blocks", pa.int32(), "blocks that the window is cut into: 64, or fewer where neighbours are alike"),
        Column("block_s", pa.float64(), "length of a block"),
        Column(
            "error",
            pa.float64(),
            "half width at 95 % as a share of J per output token: what another window of the same trial might show; "
            "nothing about other repeats, starts, nodes or sensors",
        ),
        Column("correlation", pa.float64(), "correlation of neighbouring blocks that is left"),
    ),
    sort_by=("trial",),
)

CELL_STATISTICS = Dataset(
    name="cell_statistics",
    row="J per output token of one cell by boundary and fidelity, with interval and rank range",
    version=1,
    columns=(
        Column("cell", WORD, "cell"),
        Column("boundary", WORD, "boundary"),
        Column("fidelity", WORD, "fidelity"),
        Column("trials", pa.int32(), "valid trials behind the figure"),
        Column("starts", pa.int32(), "engine starts behind it"),
        Column("nodes", pa.int32(), "nodes behind it"),
        Column("j_per_token", pa.float64(), "geometric mean over trials of window energy / output tokens"),
        Column("j_per_token_low", pa.float64(), "lower end of the 95 % interval; NULL under 2 trials", nullable=True),
        Column("j_per_token_high", pa.float64(), "upper end of it", nullable=True),
        Column("rank_best", pa.int32(), "1 + rows significantly better (Holm, family-wise error 5 %)"),
        Column("rank_worst", pa.int32(), "number of rows less those significantly worse"),
        Column("ranked_rows", pa.int32(), "rows of the same boundary, fidelity and workload that it is ranked with"),
    ),
    sort_by=("boundary", "fidelity", "cell"),
)

LEVER_EFFECTS = Dataset(
    name="lever_effects",
    row="a matched pair: two cells that differ in one factor alone",
    version=1,
    columns=(
        Column(
            "lever", WORD, "the factor, as a path: `quantization`, `workload.concurrency`, `engine.args.<argument>`"
        ),
        Column("value_a", WORD, "its value in cell a; `-` where it is not given"),
        Column("value_b", WORD, "its value in cell b"),
        Column("boundary", WORD, "boundary"),
        Column("fidelity", WORD, "fidelity"),
        Column("cell_a", WORD, "cell a"),
        Column("cell_b", WORD, "cell b"),
        Column("ratio", pa.float64(), "J per output token of b over that of a"),
        Column("ratio_low", pa.float64(), "lower end of its 95 % interval; NULL under 2 trials a side", nullable=True),
        Column("ratio_high", pa.float64(), "upper end of it", nullable=True),
        Column("p", pa.float64(), "of Welch's test of this one pair; NULL under 2 trials a side", nullable=True),
    ),
    sort_by=("lever", "boundary", "fidelity", "value_a", "value_b"),
)

NODE_DIFFERENCES = Dataset(
    name="node_differences",
    row="a cell whose valid trials ran on several sets of nodes: do these differ in J per output token",
    version=1,
    columns=(
        Column("cell", WORD, "cell"),
        Column("boundary", WORD, "boundary"),
        Column("fidelity", WORD, "fidelity"),
        Column("node_sets", pa.int32(), "sets of nodes, of one node each where the cell needs no more"),
        Column("highest_to_lowest", pa.float64(), "highest over lowest geometric mean of a set"),
        Column("unit", WORD, "what counts as one observation: `start`, or `trial` where each set has one start"),
        Column(
            "p", pa.float64(), "of one-way analysis of variance on logs; NULL without two units a set", nullable=True
        ),
        Column(
            "beyond_sensors",
            pa.bool_(),
            "whether the difference is more than the gain and offset of the sensors could make; NULL: not known",
            nullable=True,
        ),
    ),
    sort_by=("boundary", "fidelity", "cell"),
)

SWEEP_DRIFT = Dataset(
    name="sweep_drift",
    row="how J per output token changed over the time of a sweep, cells and nodes taken as given",
    version=1,
    columns=(
        Column("sweep", WORD, "sweep"),
        Column("boundary", WORD, "boundary"),
        Column("fidelity", WORD, "fidelity"),
        Column("trials", pa.int32(), "trials of cells that ran more than once on the same nodes"),
        Column("hours", pa.float64(), "from the sweep's first trial to its last"),
        Column(
            "change_per_hour",
            pa.float64(),
            "relative change of J per output token in an hour; NULL where beyond any number",
            nullable=True,
        ),
        Column("change_per_hour_low", pa.float64(), "lower end of its 95 % interval; NULL as above", nullable=True),
        Column("change_per_hour_high", pa.float64(), "upper end of it; NULL as above", nullable=True),
        Column("p", pa.float64(), "of the t-test against no drift"),
    ),
    sort_by=("sweep", "boundary", "fidelity"),
)
