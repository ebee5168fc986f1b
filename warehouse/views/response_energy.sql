-- Energy of one response that is of use, by cell: tokens x attempts x energy per token, and the tokens around it (guards,
-- embeddings, checks) at their own energy.
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
SELECT
  r.cell,
  r.boundary,
  r.fidelity,
  r.model,
  r.j_per_output_token AS j_per_token,
  a.attempts,
  a.attempts_from,
  cost_per_response(answer_tokens, a.attempts, r.j_per_output_token, other_tokens, j_per_other_token) AS j_per_response
FROM cell_results AS r
JOIN attempts(quality_task) AS a ON a.cell = r.cell
WHERE r.trials_valid > 0;
