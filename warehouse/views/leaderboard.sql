-- The leaderboard: cells with at least one valid trial, best first within each group of comparable rows. Rows are
-- ranked only against rows of the same boundary, fidelity and task; `rank` is a range: 1 + the number of
-- rows significantly better, to the number of rows less those significantly worse (Holm, family-wise error 5 %).
--
-- rank: rank range, for example `1` or `1-3`
-- model: model
-- quantization: precision of the weights
-- kv_type: type of the KV cache
-- engine: engine
-- engine_version: its version
-- accelerator: accelerator
-- devices: GPUs of one trial; 0 where the engine runs on the CPU
-- tensor: tensor-parallel degree
-- expert: whether experts are spread over devices
-- spanned_nodes: nodes that one deployment is spread over
-- client: where the load client ran: `beside` the engine on its node, or `apart` from it
-- concurrency: requests in flight
-- input_tokens: prompt length asked for
-- output_tokens: answer length asked for
-- arrivals: how requests arrive
-- task: what each request asks, in words
-- load: how hard, in words
-- j_per_token: window energy / output tokens, geometric mean over trials [J/token]
-- j_per_token_low: lower end of its 95 % interval; NULL under 2 trials [J/token]
-- j_per_token_high: upper end [J/token]
-- tokens_per_joule: output tokens / window energy [tokens/J]
-- tokens_per_kwh: output tokens / window energy [tokens/kWh]
-- tokens_per_s: output rate [tokens/s]
-- mean_w: mean power in the window [W]
-- ttft_p50_ms: time to the first token, median [ms]
-- ttft_p99_ms: 99th percentile [ms]
-- itl_p50_ms: gap between tokens, median [ms]
-- itl_p99_ms: 99th percentile [ms]
-- trials: valid trials
-- starts: engine starts of the valid trials
-- grade: `quick`, `standard` or `publishable`
-- boundary: what the energy contains
-- fidelity: how the energy arises
-- rank_best: first rank of the range
-- rank_worst: last rank of the range
-- ranked_rows: rows that it is ranked with
-- cell: cell
-- sweep: sweep of its latest trial
CREATE VIEW leaderboard AS
SELECT
  CASE WHEN s.rank_best = s.rank_worst THEN s.rank_best::VARCHAR ELSE s.rank_best || '-' || s.rank_worst END AS rank,
  r.model,
  r.quantization,
  r.kv_type,
  r.engine,
  r.engine_version,
  r.accelerator,
  r.devices,
  r.tensor,
  r.expert,
  r.spanned_nodes,
  r.client,
  r.concurrency,
  r.input_tokens,
  r.output_tokens,
  r.arrivals,
  r.task,
  r.load,
  s.j_per_token,
  s.j_per_token_low,
  s.j_per_token_high,
  1 / s.j_per_token AS tokens_per_joule,
  3.6e6 / s.j_per_token AS tokens_per_kwh,
  r.output_tokens_per_s AS tokens_per_s,
  r.mean_w,
  r.ttft_p50_ms,
  r.ttft_p99_ms,
  r.itl_p50_ms,
  r.itl_p99_ms,
  s.trials,
  s.starts,
  r.grade,
  r.boundary,
  r.fidelity,
  s.rank_best,
  s.rank_worst,
  s.ranked_rows,
  r.cell,
  r.sweep
FROM cell_results AS r
JOIN cell_statistics AS s ON s.cell = r.cell AND s.boundary = r.boundary AND s.fidelity = r.fidelity
WHERE r.trials_valid > 0
ORDER BY
  r.boundary, list_position(fidelities(), r.fidelity), r.task, s.j_per_token, r.cell;
