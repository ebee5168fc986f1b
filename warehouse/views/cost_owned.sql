-- What a million output tokens of each cell cost on hardware that you own: the capital of its accelerators (or of the node,
-- where it runs on the CPU) over the hours of its life in which it is busy, and electricity at that utilisation, with the
-- idle power of the rest of the time in it. A year is 8766 hours.
-- Macro: cost_owned(capital_per_device, lifetime_years, u, price_per_kwh, pue)
-- Example: FROM cost_owned(30000, 4, 0.6, 0.12, 1.3)
--
-- cell: cell
-- boundary: boundary whose energy is paid for
-- fidelity: how the energy arises
-- hour_of_device: capital for one busy hour of one device
-- capital_cost_per_million: capital for a million output tokens
-- electricity_cost_per_million: electricity for a million output tokens
-- cost_per_million: both together
CREATE MACRO cost_owned(capital_per_device, lifetime_years, u, price_per_kwh, pue) AS TABLE
WITH parts AS (
  SELECT
    a.cell,
    a.boundary,
    a.fidelity,
    capital_per_device / (lifetime_years * 8766 * u) AS hour_of_device,
    greatest(r.devices, 1) / r.output_tokens_per_s / 3600 * 1e6 AS hours,
    electricity_kwh(a.j_per_output_token * 1e6, a.boundary, pue) * price_per_kwh AS electricity
  FROM utilisation_adjusted(u) AS a
  JOIN cell_results AS r ON r.cell = a.cell AND r.boundary = a.boundary AND r.fidelity = a.fidelity
)
SELECT
  cell,
  boundary,
  fidelity,
  hour_of_device,
  hours * hour_of_device AS capital_cost_per_million,
  electricity AS electricity_cost_per_million,
  hours * hour_of_device + electricity AS cost_per_million
FROM parts;
