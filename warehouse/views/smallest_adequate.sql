-- The cell with the fewest joules per output token whose model scored at least so well: one row for each boundary,
-- fidelity and task of the cells. Scores are those of `quality` for the same model, weights and KV type; where several
-- sources scored it, the mean. Cells without a score are no candidates.
-- Macro: smallest_adequate(quality_task, floor)
-- Example: FROM smallest_adequate('gsm8k', 0.6)
--
-- boundary: what the energy contains
-- fidelity: how the energy arises
-- task: what each request asks
-- cell: cell
-- model: model
-- quantization: precision of the weights
-- total_params: parameters
-- score: score in the quality task
-- j_per_token: window energy / output tokens, geometric mean [J/token]
-- candidates: cells that reach the floor
-- below_floor: cells that were scored and do not reach it
CREATE MACRO smallest_adequate(quality_task, floor) AS TABLE
WITH scores AS (
  SELECT model, quantization, kv_type, avg(score) AS score
  FROM quality
  WHERE task = quality_task
  GROUP BY model, quantization, kv_type
),
scored AS (
  SELECT r.*, s.score
  FROM cell_results AS r
  JOIN scores AS s ON s.model = r.model AND s.quantization = r.quantization AND s.kv_type = r.kv_type
  WHERE r.trials_valid > 0
)
SELECT
  boundary,
  fidelity,
  task,
  arg_min(cell, j_per_output_token) FILTER (score >= floor) AS cell,
  arg_min(model, j_per_output_token) FILTER (score >= floor) AS model,
  arg_min(quantization, j_per_output_token) FILTER (score >= floor) AS quantization,
  arg_min(total_params, j_per_output_token) FILTER (score >= floor) AS total_params,
  arg_min(score, j_per_output_token) FILTER (score >= floor) AS score,
  min(j_per_output_token) FILTER (score >= floor) AS j_per_token,
  count(*) FILTER (score >= floor) AS candidates,
  count(*) FILTER (score < floor) AS below_floor
FROM scored
GROUP BY boundary, fidelity, task;
