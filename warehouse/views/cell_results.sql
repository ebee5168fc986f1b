-- The result of one cell in one boundary and fidelity, over its valid trials, on whatever nodes and in whatever starts.
-- Figures are NULL where no trial is valid. Energy per token is a geometric mean, everything else an arithmetic mean
-- over trials. Intervals and ranks are in `cell_statistics`.
--
-- cell: cell
-- boundary: what the energy contains
-- fidelity: how the energy arises
-- sweep: sweep of its latest trial
-- model: model
-- architecture: `dense` or `moe`
-- total_params: parameters
-- active_params: parameters that work on one token
-- quantization: precision of the weights
-- kv_type: type of the KV cache
-- engine: engine
-- engine_version: its version
-- engine_args: JSON: its extra arguments
-- accelerator: accelerator
-- devices: GPUs of one trial; 0 where the engine runs on the CPU
-- tensor: tensor-parallel degree
-- pipeline: pipeline stages
-- data_parallel: data-parallel replicas
-- expert: whether experts are spread over devices
-- spanned_nodes: nodes that one deployment is spread over
-- client: where the load client ran: `beside` the engine on its node, or `apart` from it
-- power_limit_w: power limit that was asked for [W]
-- concurrency: requests in flight; NULL in an open loop
-- input_tokens: prompt length asked for; NULL where lengths differ
-- output_tokens: answer length asked for; NULL where lengths differ
-- input_lengths: prompt length asked for: tokens, or JSON of the distribution
-- output_lengths: answer length asked for: tokens, or JSON of the distribution
-- arrivals: how requests arrive: `closed`, or the process of an open loop
-- task: what each request asks, in words
-- load: how hard, in words
-- rate_per_s: rate asked for [1/s]
-- load_fraction: load as a share of the highest sustained throughput
-- planned_trials: repeats x starts, as planned
-- trials_valid: valid trials
-- trials_invalid: trials that ran to their end and have reasons against them in this boundary
-- trials_failed: trials of the cell that did not run to their end
-- starts: engine starts of the valid trials
-- nodes: nodes of the valid trials
-- measured_s: length of all valid windows together [s]
-- grade: `quick`, `standard` or `publishable`; NULL where no trial is valid
-- j_per_output_token: window energy / output tokens, geometric mean [J/token]
-- j_per_input_token: window energy / input tokens, geometric mean [J/token]
-- j_per_token: window energy / all tokens, geometric mean [J/token]
-- output_tokens_per_s: output rate [tokens/s]
-- mean_w: mean power in the window [W]
-- peak_w: highest power of any trial [W]
-- loaded_idle_w: mean power with the engine loaded and no requests [W]
-- cold_idle_w: mean power without an engine [W]
-- loaded_idle_cpus: logical CPUs that the engine kept busy with no requests: schedulers that spin
-- ttft_p50_ms: time to the first token, median of each trial [ms]
-- ttft_p99_ms: 99th percentile of each trial [ms]
-- tpot_p50_ms: time per output token, median of each trial [ms]
-- itl_p50_ms: gap between tokens, median of each trial [ms]
-- itl_p99_ms: 99th percentile of each trial [ms]
-- e2e_p50_ms: time to the last token, median of each trial [ms]
-- simulated: whether the rows come from the simulator
CREATE VIEW cell_results AS
WITH facts AS (
  SELECT
    cell,
    arg_max(t, started_at) AS latest,
    count(*) FILTER (outcome = 'failed')::INTEGER AS trials_failed
  FROM trials AS t
  GROUP BY cell
),
figures AS (
  SELECT
    cell,
    boundary,
    fidelity,
    count(*) FILTER (valid)::INTEGER AS trials_valid,
    count(*) FILTER (NOT valid)::INTEGER AS trials_invalid,
    count(*) FILTER (valid AND window_s >= 60) AS long_trials,
    count(DISTINCT (nodes, start)) FILTER (valid)::INTEGER AS starts,
    count(DISTINCT nodes) FILTER (valid)::INTEGER AS nodes,
    sum(window_s) FILTER (valid) AS measured_s,
    exp(avg(ln(j_per_output_token)) FILTER (valid)) AS j_per_output_token,
    exp(avg(ln(j_per_input_token)) FILTER (valid)) AS j_per_input_token,
    exp(avg(ln(j_per_token)) FILTER (valid)) AS j_per_token,
    avg(output_tokens_per_s) FILTER (valid) AS output_tokens_per_s,
    avg(mean_w) FILTER (valid) AS mean_w,
    max(peak_w) FILTER (valid) AS peak_w,
    avg(loaded_idle_w) FILTER (valid) AS loaded_idle_w,
    avg(cold_idle_w) FILTER (valid) AS cold_idle_w,
    avg(loaded_idle_cpus) FILTER (valid) AS loaded_idle_cpus,
    avg(ttft_p50_ms) FILTER (valid) AS ttft_p50_ms,
    avg(ttft_p99_ms) FILTER (valid) AS ttft_p99_ms,
    avg(tpot_p50_ms) FILTER (valid) AS tpot_p50_ms,
    avg(itl_p50_ms) FILTER (valid) AS itl_p50_ms,
    avg(itl_p99_ms) FILTER (valid) AS itl_p99_ms,
    avg(e2e_p50_ms) FILTER (valid) AS e2e_p50_ms
  FROM trial_results
  WHERE trial IN (SELECT trial FROM trials WHERE outcome = 'done')
  GROUP BY cell, boundary, fidelity
)
SELECT
  r.cell,
  r.boundary,
  r.fidelity,
  f.latest.sweep AS sweep,
  f.latest.model AS model,
  f.latest.architecture AS architecture,
  f.latest.total_params AS total_params,
  f.latest.active_params AS active_params,
  f.latest.quantization AS quantization,
  f.latest.kv_type AS kv_type,
  f.latest.engine AS engine,
  f.latest.engine_version AS engine_version,
  f.latest.engine_args AS engine_args,
  f.latest.accelerator AS accelerator,
  f.latest.devices AS devices,
  f.latest.tensor AS tensor,
  f.latest.pipeline AS pipeline,
  f.latest.data_parallel AS data_parallel,
  f.latest.expert AS expert,
  f.latest.spanned_nodes AS spanned_nodes,
  f.latest.client AS client,
  f.latest.power_limit_w AS power_limit_w,
  f.latest.concurrency AS concurrency,
  f.latest.input_tokens AS input_tokens,
  f.latest.output_tokens AS output_tokens,
  f.latest.input_lengths AS input_lengths,
  f.latest.output_lengths AS output_lengths,
  f.latest.arrivals AS arrivals,
  f.latest.task AS task,
  f.latest.load AS load,
  f.latest.rate_per_s AS rate_per_s,
  f.latest.load_fraction AS load_fraction,
  f.latest.planned_repeats * f.latest.planned_starts AS planned_trials,
  r.trials_valid,
  r.trials_invalid,
  f.trials_failed,
  r.starts,
  r.nodes,
  r.measured_s,
  CASE
    WHEN r.trials_valid = 0 THEN NULL
    -- The number of trials is fixed beforehand: as many as planned, and no fewer are enough.
    WHEN r.long_trials < greatest(3, f.latest.planned_repeats * f.latest.planned_starts) THEN 'quick'
    WHEN f.latest.planned_repeats * f.latest.planned_starts < 3 THEN 'quick'
    WHEN r.starts >= 3 AND r.measured_s >= 600 THEN 'publishable'
    ELSE 'standard'
  END AS grade,
  r.j_per_output_token,
  r.j_per_input_token,
  r.j_per_token,
  r.output_tokens_per_s,
  r.mean_w,
  r.peak_w,
  r.loaded_idle_w,
  r.cold_idle_w,
  r.loaded_idle_cpus,
  r.ttft_p50_ms,
  r.ttft_p99_ms,
  r.tpot_p50_ms,
  r.itl_p50_ms,
  r.itl_p99_ms,
  r.e2e_p50_ms,
  r.fidelity = 'simulated' AS simulated
FROM figures AS r
JOIN facts AS f ON f.cell = r.cell;
