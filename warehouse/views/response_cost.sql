-- What one response that is of use costs, by cell, on rented hardware: tokens x attempts x cost per token, and the tokens
-- around it (guards, embeddings, checks) at their own price. Devices and electricity stay apart, as in `cost`.
-- Macro: response_cost(answer_tokens, quality_task, other_tokens, cost_per_other_token, gpu_hour, price_per_kwh, pue, includes_power)
-- Example: FROM response_cost(150, 'gsm8k', 150, 0.000002, 2.5, 0.12, 1.3, false)
--
-- cell: cell
-- boundary: boundary whose energy is paid for
-- fidelity: how the energy arises
-- attempts: mean number of attempts for one response that is of use
-- attempts_from: `quality`, `slo`, or NULL
-- gpu_cost: devices for such a response
-- electricity_cost: electricity for it
-- other_cost: the tokens around it
-- cost_per_response: all together
CREATE MACRO response_cost(
  answer_tokens, quality_task, other_tokens, cost_per_other_token, gpu_hour, price_per_kwh, pue, includes_power
) AS TABLE
SELECT
  c.cell,
  c.boundary,
  c.fidelity,
  a.attempts,
  a.attempts_from,
  answer_tokens * a.attempts * c.gpu_cost_per_million / 1e6 AS gpu_cost,
  answer_tokens * a.attempts * c.electricity_cost_per_million / 1e6 AS electricity_cost,
  (other_tokens * cost_per_other_token)::DOUBLE AS other_cost,
  cost_per_response(answer_tokens, a.attempts, c.cost_per_million / 1e6, other_tokens, cost_per_other_token)
    AS cost_per_response
FROM cost(gpu_hour, price_per_kwh, pue, includes_power) AS c
JOIN attempts(quality_task) AS a ON a.cell = c.cell;
