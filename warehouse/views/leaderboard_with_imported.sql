-- Measured cells and imported results in one order, for those who ask for it: by J per output token within one boundary.
-- Imported results were measured by others, in other ways and under other loads, and have no interval: a place here says
-- less than a rank of `leaderboard`. Simulated cells have no place beside what was measured, here or elsewhere.
--
-- place: place by J per output token within the boundary
-- origin: `joulemark`, or the format of the imported file
-- boundary: what the energy contains
-- fidelity: how the energy arises; `imported` where it is not ours
-- model: model
-- quantization: precision of the weights; NULL where it is not told
-- engine: engine
-- accelerator: accelerator
-- devices: accelerators of one trial or result
-- concurrency: requests in flight
-- task: workload of an imported result; NULL for a cell
-- j_per_token: energy per output token [J/token]
-- tokens_per_joule: output tokens per joule [tokens/J]
-- tokens_per_s: output rate [tokens/s]
-- itl_p50_ms: gap between tokens, median [ms]
-- cell: cell; NULL where it is imported
-- source: file that it comes from; NULL where it is measured
CREATE VIEW leaderboard_with_imported AS
WITH together AS (
  SELECT
    'joulemark' AS origin, boundary, fidelity, model, quantization, engine, accelerator, devices, concurrency,
    NULL::VARCHAR AS task, j_per_token, tokens_per_s, itl_p50_ms, cell, NULL::VARCHAR AS source
  FROM leaderboard
  WHERE fidelity <> 'simulated'
  UNION ALL
  SELECT
    format, boundary, fidelity, model, quantization, engine, accelerator, devices, concurrency,
    task, j_per_output_token, output_tokens_per_s, itl_p50_ms, NULL, source
  FROM imported
  WHERE j_per_output_token > 0
)
SELECT
  rank() OVER (PARTITION BY boundary ORDER BY j_per_token)::INTEGER AS place,
  origin,
  boundary,
  fidelity,
  model,
  quantization,
  engine,
  accelerator,
  devices,
  concurrency,
  task,
  j_per_token,
  1 / j_per_token AS tokens_per_joule,
  tokens_per_s,
  itl_p50_ms,
  cell,
  source
FROM together
ORDER BY boundary, place, model, source, cell;
