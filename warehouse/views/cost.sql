-- What a million output tokens of each cell cost at prices that you give. GPU-hours and electricity stay apart. A cell
-- on the CPU has no GPU-hours: only electricity.
-- Macro: cost(price_per_gpu_hour, price_per_kwh, pue, includes_power)
-- Example: FROM cost(2.5, 0.12, 1.3, false)
--
-- cell: cell
-- boundary: boundary whose energy is paid for
-- fidelity: how the energy arises
-- gpu_hours_per_million: GPU-hours for a million output tokens [h]
-- kwh_per_million: electricity for a million output tokens, times the PUE [kWh]
-- gpu_cost_per_million: GPU-hours x price
-- electricity_cost_per_million: electricity x price; 0 where the GPU-hour includes power
-- cost_per_million: both together
-- tokens_per_dollar: output tokens for one unit of the currency
CREATE MACRO cost(price_per_gpu_hour, price_per_kwh, pue, includes_power) AS TABLE
WITH amounts AS (
  SELECT
    cell,
    boundary,
    fidelity,
    devices,
    devices / output_tokens_per_s / 3600 * 1e6 AS hours,
    electricity_kwh(j_per_output_token * 1e6, boundary, pue) AS kwh
  FROM cell_results
  WHERE trials_valid > 0
),
parts AS (
  SELECT
    *,
    hours * price_per_gpu_hour AS gpu_part,
    CASE WHEN includes_power AND devices > 0 THEN 0 ELSE kwh * price_per_kwh END AS power_part
  FROM amounts
)
SELECT
  cell,
  boundary,
  fidelity,
  hours AS gpu_hours_per_million,
  kwh AS kwh_per_million,
  gpu_part AS gpu_cost_per_million,
  power_part AS electricity_cost_per_million,
  gpu_part + power_part AS cost_per_million,
  1e6 / nullif(gpu_part + power_part, 0) AS tokens_per_dollar
FROM parts;
