-- What the output tokens of a valid trial cost at the prices stored with its sweep (sweeps/<sweep>/site.json). Hours of
-- devices and electricity stay apart; NULL where a price is not known. A trial on the CPU pays for the hours of its nodes.
--
-- sweep: sweep
-- cell: cell
-- trial: trial
-- boundary: boundary whose energy is paid for
-- fidelity: how the energy arises
-- output_tokens: tokens received in the window
-- device_hours: GPUs x length of the window, or nodes x its length where the engine runs on the CPU [h]
-- electricity_kwh: energy of the window, times the PUE [kWh]
-- device_cost: device-hours x price
-- electricity_cost: electricity x price; 0 where the price of the hour includes power
-- cost_per_million_tokens: both together, for a million output tokens
-- tokens_per_unit: output tokens for one unit of the currency
-- input_tokens_per_unit: input tokens for one unit of the currency
-- all_tokens_per_unit: input and output tokens together for one unit of the currency
-- currency: currency
-- prices_as_of: date of the prices
CREATE VIEW trial_cost AS
WITH parts AS (
  SELECT
    r.*,
    s.currency,
    s.as_of,
    s.gpu_hour,
    CASE WHEN r.devices > 0 THEN r.devices ELSE len(r.nodes) END * r.window_s / 3600 AS device_hours,
    electricity_kwh(r.energy_j, r.boundary, s.pue) AS kwh,
    CASE WHEN s.includes_power THEN 0
      ELSE electricity_kwh(r.energy_j, r.boundary, s.pue) * s.electricity_per_kwh END AS electricity_cost
  FROM trial_results AS r
  JOIN sites AS s ON s.sweep = r.sweep
  WHERE r.valid
)
SELECT
  sweep,
  cell,
  trial,
  boundary,
  fidelity,
  output_tokens,
  device_hours,
  kwh AS electricity_kwh,
  device_hours * gpu_hour AS device_cost,
  electricity_cost,
  (device_hours * gpu_hour + electricity_cost) / output_tokens * 1e6 AS cost_per_million_tokens,
  output_tokens / nullif(device_hours * gpu_hour + electricity_cost, 0) AS tokens_per_unit,
  input_tokens / nullif(device_hours * gpu_hour + electricity_cost, 0) AS input_tokens_per_unit,
  (input_tokens + output_tokens) / nullif(device_hours * gpu_hour + electricity_cost, 0) AS all_tokens_per_unit,
  currency,
  as_of AS prices_as_of
FROM parts;
