-- Cost of one response that is of use: tokens x attempts x cost per token, and the tokens around it (guards, checks) at
-- their own price. With joules instead of money it gives the energy of a meaningful response.
-- Macro: cost_per_response(tokens, attempts, cost_per_token, other_tokens, cost_per_other_token)
-- Example: SELECT cost_per_response(150, 1.2, 0.00015, 150, 0.000002) AS cost_per_response
--
-- cost_per_response: in the unit of the costs
CREATE MACRO cost_per_response(tokens, attempts, cost_per_token, other_tokens, cost_per_other_token) AS
  (tokens * attempts * cost_per_token + other_tokens * cost_per_other_token)::DOUBLE;
