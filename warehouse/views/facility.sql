-- What a whole site could produce with each cell: as many deployments as its power and its cooling carry, each busy for
-- the share u of the time at its measured rate and power, loaded and idle for the rest. Whole deployments only.
-- Macro: facility(power_budget_w, cooling_budget_w, pue, u)
-- Example: FROM facility(1e6, 0.9e6, 1.3, 0.6)
--
-- cell: cell
-- boundary: boundary whose power is counted; `node` is the one that a site has to carry
-- fidelity: how the energy arises
-- deployments: deployments that fit
-- devices: their accelerators; 0 where they run on CPUs
-- it_w: their mean power [W]
-- facility_w: the same, times the PUE [W]
-- tokens_per_s: output tokens per second [tokens/s]
-- tokens_per_day: output tokens per day [tokens/day]
-- binding: which budget is the smaller one: `power` or `cooling`
CREATE MACRO facility(power_budget_w, cooling_budget_w, pue, u) AS TABLE
WITH each AS (
  SELECT
    a.cell,
    a.boundary,
    a.fidelity,
    a.mean_w,
    a.tokens_per_s,
    r.devices,
    CASE WHEN a.boundary = 'facility' THEN 1 ELSE pue END * a.mean_w AS site_w
  FROM utilisation_adjusted(u) AS a
  JOIN cell_results AS r ON r.cell = a.cell AND r.boundary = a.boundary AND r.fidelity = a.fidelity
),
counted AS (
  SELECT *, floor(least(power_budget_w, cooling_budget_w) / nullif(site_w, 0))::BIGINT AS deployments
  FROM each
)
SELECT
  cell,
  boundary,
  fidelity,
  deployments,
  deployments * devices AS devices,
  deployments * mean_w AS it_w,
  deployments * site_w AS facility_w,
  deployments * tokens_per_s AS tokens_per_s,
  deployments * tokens_per_s * 86400 AS tokens_per_day,
  CASE WHEN cooling_budget_w < power_budget_w THEN 'cooling' ELSE 'power' END AS binding
FROM counted;
