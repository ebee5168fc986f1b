-- Prefill and decode apart: for each cell whose companions (`phases: isolate`) have valid trials in the same boundary and
-- fidelity, the energy of a prompt's token from prompts alone, that of an answer's token from long answers to tiny
-- prompts (less those prompts), and what the two would make of the cell's own requests beside what was measured. The
-- difference is what the phases do to each other in one batch, and the shorter context of the long answers. Beside it
-- stands what a regression inside the cell's own windows says (`phase_estimates`): an estimate, not a measurement.
--
-- cell: cell
-- boundary: what the energy contains
-- fidelity: how the energy arises
-- model: model
-- engine: engine
-- concurrency: requests in flight
-- input_tokens: prompt length
-- output_tokens: answer length
-- prompt_cell: cell of prompts alone
-- answer_cell: cell of long answers to tiny prompts
-- prefill_j_per_token: energy of one token of the prompt [J/token]
-- decode_j_per_token: energy of one token of the answer [J/token]
-- isolated_j: what both make of one request: prompt and answer [J]
-- measured_j: energy of one request of the cell, as measured [J]
-- difference: isolated_j / measured_j - 1
-- estimated_prefill_j_per_token: the regression's energy of one token of the prompt, mean of the cell's valid trials [J/token]
-- estimated_prefill_half_j: half width of its 95 % interval [J/token]
-- estimated_decode_j_per_token: the regression's energy of one token of the answer [J/token]
-- estimated_decode_half_j: half width of its 95 % interval [J/token]
-- prefill_difference: estimated_prefill_j_per_token / prefill_j_per_token - 1
-- decode_difference: estimated_decode_j_per_token / decode_j_per_token - 1
CREATE VIEW phase_energy AS
WITH asked AS (
  SELECT
    cell,
    any_value(deployment) AS deployment,
    any_value(factors::JSON) AS factors
  FROM manifests
  GROUP BY cell
),
cells AS (
  SELECT
    r.cell,
    r.boundary,
    r.fidelity,
    r.model,
    r.engine,
    r.concurrency,
    r.input_tokens,
    r.output_tokens,
    r.j_per_input_token,
    r.j_per_output_token,
    a.deployment,
    -- All that companions have in common beside the deployment: load, seed, request parameters, window.
    json_merge_patch(a.factors -> '$.workload', '{"input_tokens": null, "output_tokens": null}')::VARCHAR AS rest,
    (a.factors -> '$.window')::VARCHAR AS window_policy
  FROM cell_results AS r
  JOIN asked AS a ON a.cell = r.cell
  WHERE r.trials_valid > 0 AND r.input_tokens IS NOT NULL AND r.output_tokens IS NOT NULL
),
prompts AS (
  FROM cells
  WHERE output_tokens = 1
),
answers AS (
  FROM cells
  WHERE input_tokens = 8
),
apart AS (
  SELECT
    c.*,
    p.cell AS prompt_cell,
    a.cell AS answer_cell,
    p.j_per_input_token AS prefill_j_per_token,
    a.j_per_output_token - p.j_per_input_token * a.input_tokens / a.output_tokens AS decode_j_per_token
  FROM cells AS c
  JOIN prompts AS p
    ON p.deployment = c.deployment AND p.boundary = c.boundary AND p.fidelity = c.fidelity AND p.rest = c.rest
    AND p.window_policy = c.window_policy AND p.input_tokens = c.input_tokens AND p.cell <> c.cell
  JOIN answers AS a
    ON a.deployment = c.deployment AND a.boundary = c.boundary AND a.fidelity = c.fidelity AND a.rest = c.rest
    AND a.window_policy = c.window_policy AND a.output_tokens = c.output_tokens AND a.cell <> c.cell
),
estimated AS (
  SELECT
    r.cell AS estimated_cell,
    r.boundary AS estimated_boundary,
    r.fidelity AS estimated_fidelity,
    avg(e.prefill_j_per_token) AS estimated_prefill_j_per_token,
    sqrt(sum(e.prefill_half_j ** 2)) / count(*) AS estimated_prefill_half_j,
    avg(e.decode_j_per_token) AS estimated_decode_j_per_token,
    sqrt(sum(e.decode_half_j ** 2)) / count(*) AS estimated_decode_half_j
  FROM trial_results AS r
  JOIN phase_estimates AS e ON e.trial = r.trial AND e.boundary = r.boundary
  WHERE r.valid AND e.reason IS NULL
  GROUP BY ALL
)
SELECT
  cell,
  boundary,
  fidelity,
  model,
  engine,
  concurrency,
  input_tokens,
  output_tokens,
  prompt_cell,
  answer_cell,
  prefill_j_per_token,
  decode_j_per_token,
  input_tokens * prefill_j_per_token + output_tokens * decode_j_per_token AS isolated_j,
  output_tokens * j_per_output_token AS measured_j,
  isolated_j / measured_j - 1 AS difference,
  estimated_prefill_j_per_token,
  estimated_prefill_half_j,
  estimated_decode_j_per_token,
  estimated_decode_half_j,
  estimated_prefill_j_per_token / prefill_j_per_token - 1 AS prefill_difference,
  estimated_decode_j_per_token / decode_j_per_token - 1 AS decode_difference
FROM apart
LEFT JOIN estimated ON estimated_cell = cell AND estimated_boundary = boundary AND estimated_fidelity = fidelity;
