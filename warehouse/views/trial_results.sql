-- The result of one trial in one boundary: energy and tokens of the same window, and everything that speaks against it.
--
-- sweep: sweep
-- cell: cell
-- trial: trial
-- boundary: what the energy contains
-- fidelity: how the energy arises
-- valid: whether the trial ran to its end and nothing speaks against the figure
-- reasons: what speaks against it: the manifest's reasons, the energy's, those of the token traces and of the devices
-- nodes: nodes of the trial
-- devices: GPUs of the trial; 0 where the engine runs on the CPU
-- start: number of the engine start
-- repeat: number of the repeat
-- attempt: number of the attempt
-- window_s: length of the window [s]
-- energy_j: energy of the window [J]
-- uncertainty_j: half width at 95 %, without the sensors' gain and offset [J]
-- sensor_j: what the sensors' gain and offset may add or take at most: common to all figures of a device [J]
-- methods: `counter`, `integral`
-- disagreement: integral / counter - 1 of the component that disagrees most; NULL where none has both
-- mean_w: mean power in the window [W]
-- peak_w: highest power in the window; an upper bound for several devices [W]
-- loaded_idle_w: mean power with the engine loaded and no requests [W]
-- cold_idle_w: mean power without an engine [W]
-- loaded_idle_cpus: logical CPUs that the engine kept busy with no requests
-- output_tokens: tokens received in the window
-- input_tokens: prompt tokens whose first answer token falls into the window
-- cached_tokens: those of them taken from the engine's cache
-- requests_completed: requests that ended well in the window
-- requests_failed: requests that failed in the window
-- j_per_output_token: window energy / output tokens [J/token]
-- j_per_input_token: window energy / input tokens [J/token]
-- j_per_token: window energy / input and output tokens together [J/token]
-- output_tokens_per_joule: output tokens / window energy [tokens/J]
-- input_tokens_per_joule: input tokens / window energy [tokens/J]
-- tokens_per_joule: input and output tokens together / window energy [tokens/J]
-- output_tokens_per_kwh: output tokens / window energy [tokens/kWh]
-- input_tokens_per_kwh: input tokens / window energy [tokens/kWh]
-- tokens_per_kwh: input and output tokens together / window energy [tokens/kWh]
-- output_tokens_per_s: output tokens / window [tokens/s]
-- ttft_p50_ms: time to the first token, median [ms]
-- ttft_p99_ms: 99th percentile [ms]
-- tpot_p50_ms: time per output token, median [ms]
-- itl_p50_ms: gap between tokens, median [ms]
-- itl_p99_ms: 99th percentile [ms]
-- e2e_p50_ms: time to the last token, median [ms]
-- e2e_p99_ms: 99th percentile [ms]
-- started_at: start of the trial
CREATE VIEW trial_results AS
WITH joined AS (
  SELECT
    t.sweep, t.cell, t.trial, p.boundary, p.fidelity, t.outcome, t.nodes, t.devices, t.start, t.repeat, t.attempt, t.started_at,
    k.*,
    p.energy_j, p.uncertainty_j, p.sensor_j, p.methods, p.disagreement, p.mean_w, p.peak_w, p.loaded_idle_w, p.cold_idle_w,
    t.loaded_idle_cpus,
    list_sort(list_distinct(
      -- Idle devices and the client are outside a boundary that is the device alone.
      list_filter(
        t.reasons,
        lambda r: NOT (p.boundary = CASE WHEN t.on_cpu THEN 'cpu' ELSE 'gpu' END AND list_contains(boundary_reasons(), r))
      )
      || p.reasons
      || coalesce(d.reasons, [])
      || CASE WHEN p.energy_j IS NULL AND len(p.reasons) = 0 THEN ['no_power'] ELSE [] END
      || CASE WHEN k.requests_failed > 0 THEN ['requests_failed'] ELSE [] END
      || CASE WHEN k.requests_truncated > 0 THEN ['requests_truncated'] ELSE [] END
      || CASE WHEN k.token_mismatches > 0 THEN ['token_mismatch'] ELSE [] END
      -- Idle GPUs take power from the node's plug; the client takes it from its sockets too.
      || CASE WHEN p.boundary IN ('node', 'facility') AND f.idle_devices > 0 THEN ['node_not_filled'] ELSE [] END
      || CASE WHEN p.boundary NOT IN ('cpu', 'gpu') AND f.client_on_node THEN ['client_on_node'] ELSE [] END
      || CASE WHEN k.on_other_clock > 0 THEN ['clock_uncertain'] ELSE [] END
      || CASE WHEN coalesce(k.output_tokens, 0) = 0 THEN ['window_too_short'] ELSE [] END
    )) AS all_reasons
  FROM trials AS t
  JOIN trial_power AS p ON p.trial = t.trial
  JOIN (SELECT * RENAME (trial AS of_trial) FROM trial_tokens) AS k ON k.of_trial = t.trial
  LEFT JOIN (SELECT trial AS found_trial, idle_devices, client_on_node FROM node_findings) AS f ON f.found_trial = t.trial
  LEFT JOIN (SELECT trial, flatten(list(reasons)) AS reasons FROM device_findings GROUP BY trial) AS d
    ON d.trial = t.trial
)
SELECT
  sweep,
  cell,
  trial,
  boundary,
  fidelity,
  outcome = 'done' AND len(all_reasons) = 0 AS valid,
  all_reasons AS reasons,
  nodes,
  devices,
  start,
  repeat,
  attempt,
  window_s,
  energy_j,
  uncertainty_j,
  sensor_j,
  methods,
  disagreement,
  mean_w,
  peak_w,
  loaded_idle_w,
  cold_idle_w,
  loaded_idle_cpus,
  output_tokens,
  input_tokens,
  cached_tokens,
  requests_completed,
  requests_failed,
  energy_j / nullif(output_tokens, 0) AS j_per_output_token,
  energy_j / nullif(input_tokens, 0) AS j_per_input_token,
  energy_j / nullif(input_tokens + output_tokens, 0) AS j_per_token,
  output_tokens / nullif(energy_j, 0) AS output_tokens_per_joule,
  input_tokens / nullif(energy_j, 0) AS input_tokens_per_joule,
  (input_tokens + output_tokens) / nullif(energy_j, 0) AS tokens_per_joule,
  output_tokens / nullif(energy_j, 0) * 3.6e6 AS output_tokens_per_kwh,
  input_tokens / nullif(energy_j, 0) * 3.6e6 AS input_tokens_per_kwh,
  (input_tokens + output_tokens) / nullif(energy_j, 0) * 3.6e6 AS tokens_per_kwh,
  output_tokens_per_s,
  ttft_p50_ms,
  ttft_p99_ms,
  tpot_p50_ms,
  itl_p50_ms,
  itl_p99_ms,
  e2e_p50_ms,
  e2e_p99_ms,
  started_at
FROM joined;
