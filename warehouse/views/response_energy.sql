-- Energy of one response that is of use, by cell: tokens x attempts x energy per token, and the tokens around it (guards,
-- checks) at their own energy. Attempts are 1 / the share of answers that are right (`quality`), or where no score is
-- known 1 / the share of requests that met the sweep's limits on latency; the row says which. NULL where neither is.
-- Macro: response_energy(answer_tokens, quality_task, other_tokens, j_per_other_token)
-- Example: FROM response_energy(150, 'gsm8k', 150, 0.01)
--
-- cell: cell
-- boundary: what the energy contains
-- fidelity: how the energy arises
-- model: model
-- j_per_token: window energy / output tokens [J/token]
-- attempts: mean number of attempts for one response that is of use
-- attempts_from: `quality`, `slo`, or NULL
-- j_per_response: energy of such a response [J]
CREATE MACRO response_energy(answer_tokens, quality_task, other_tokens, j_per_other_token) AS TABLE
WITH scores AS (
  SELECT model, quantization, kv_type, avg(score) AS score
  FROM quality
  WHERE task = quality_task
  GROUP BY model, quantization, kv_type
),
attained AS (
  SELECT t.cell, avg(g.attainment) AS attainment
  FROM trial_goodput AS g
  JOIN trials AS t ON t.trial = g.trial
  GROUP BY t.cell
),
known AS (
  SELECT
    r.cell,
    r.boundary,
    r.fidelity,
    r.model,
    r.j_per_output_token,
    1 / nullif(coalesce(s.score, a.attainment), 0) AS attempts,
    CASE WHEN s.score IS NOT NULL THEN 'quality' WHEN a.attainment IS NOT NULL THEN 'slo' END AS attempts_from
  FROM cell_results AS r
  LEFT JOIN scores AS s ON s.model = r.model AND s.quantization = r.quantization AND s.kv_type = r.kv_type
  LEFT JOIN attained AS a ON a.cell = r.cell
  WHERE r.trials_valid > 0
)
SELECT
  cell,
  boundary,
  fidelity,
  model,
  j_per_output_token AS j_per_token,
  attempts,
  attempts_from,
  cost_per_response(answer_tokens, attempts, j_per_output_token, other_tokens, j_per_other_token) AS j_per_response
FROM known;
