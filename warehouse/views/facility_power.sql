-- Power that each cell draws from the grid: AC power of its nodes x PUE. AC power is `measured` where the boundary is the
-- node; where only devices were metered it is `modelled`: their power and that of the rest of each node, over the
-- efficiency of the power supplies. `gpu+cpu` and `cpu` hold the sockets already: give as rest what neither holds.
-- Macro: facility_power(pue, rest_of_node_w, supply_efficiency)
-- Example: FROM facility_power(1.3, 400, 0.94)
--
-- cell: cell
-- boundary: what was metered
-- fidelity: how that arises
-- metered_w: mean power as metered [W]
-- ac_w: mean AC power of the nodes [W]
-- ac_power: `measured` or `modelled`
-- facility_w: AC power x PUE [W]
-- tokens_per_kwh: output tokens for a kWh from the grid [tokens/kWh]
CREATE MACRO facility_power(pue, rest_of_node_w, supply_efficiency) AS TABLE
WITH of_nodes AS (
  SELECT cell, max(len(nodes)) AS nodes
  FROM trials
  GROUP BY cell
),
drawn AS (
  SELECT
    r.*,
    r.boundary IN ('node', 'facility') AS measured,
    CASE WHEN r.boundary IN ('node', 'facility') THEN r.mean_w
      ELSE (r.mean_w + n.nodes * rest_of_node_w) / supply_efficiency END AS ac_w
  FROM cell_results AS r
  JOIN of_nodes AS n ON n.cell = r.cell
  WHERE r.trials_valid > 0
)
SELECT
  cell,
  boundary,
  fidelity,
  mean_w AS metered_w,
  ac_w,
  CASE WHEN measured THEN 'measured' ELSE 'modelled' END AS ac_power,
  ac_w * CASE WHEN boundary = 'facility' THEN 1 ELSE pue END AS facility_w,
  output_tokens_per_s / nullif(facility_w, 0) * 3.6e6 AS tokens_per_kwh
FROM drawn;
