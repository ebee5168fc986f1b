-- Output and energy per token of each cell at a utilisation below its measured load: busy for the share u of the time,
-- loaded and idle for the rest. NULL where the loaded idle power was not measured.
-- Macro: utilisation_adjusted(u)
-- Example: FROM utilisation_adjusted(0.4)
--
-- cell: cell
-- boundary: boundary
-- fidelity: how the energy arises
-- utilisation: share of the time that it is busy
-- tokens_per_s: u x measured output rate [tokens/s]
-- mean_w: u x busy power + (1 - u) x loaded idle power [W]
-- j_per_output_token: mean power / output rate [J/token]
CREATE MACRO utilisation_adjusted(u) AS TABLE
SELECT
  cell,
  boundary,
  fidelity,
  u::DOUBLE AS utilisation,
  u * output_tokens_per_s AS tokens_per_s,
  u * mean_w + (1 - u) * loaded_idle_w AS mean_w,
  (u * mean_w + (1 - u) * loaded_idle_w) / nullif(u * output_tokens_per_s, 0) AS j_per_output_token
FROM cell_results
WHERE trials_valid > 0;
