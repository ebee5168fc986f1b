-- Electricity to pay for: the energy of a boundary, times the PUE unless the boundary is already the facility.
-- Macro: electricity_kwh(energy_j, boundary, pue)
-- Example: SELECT electricity_kwh(7.2e6, 'gpu', 1.5) AS electricity_kwh
--
-- electricity_kwh: electricity [kWh]
CREATE MACRO electricity_kwh(energy_j, boundary, pue) AS
  energy_j::DOUBLE / 3.6e6 * CASE WHEN boundary = 'facility' THEN 1 ELSE pue END;
