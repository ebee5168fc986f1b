-- Energy and power of one trial in one boundary: the sum over its components, which are in `trial_components`.
--
-- trial: trial
-- boundary: what the energy contains
-- fidelity: the weakest fidelity of its components; `simulated` where engine or meter was the simulator
-- energy_j: energy of the window; NULL where one component has none [J]
-- uncertainty_j: half width at 95 %, components taken as independent, without the sensors' gain and offset [J]
-- sensor_j: what the sensors' gain and offset may add or take at most, all in one direction; NULL where not known [J]
-- disagreement: integral / counter - 1 of the component that disagrees most; NULL where none has both
-- coverage: lowest coverage of a component
-- components: number of components in the window
-- meters: meters they come from
-- methods: `counter`, `integral`
-- mean_w: mean power in the window [W]
-- peak_w: sum of the components' highest readings in the window; an upper bound where there are several [W]
-- loaded_idle_w: mean power with the engine loaded and no requests [W]
-- cold_idle_w: mean power without an engine [W]
-- reasons: what speaks against the window's energy
CREATE VIEW trial_power AS
WITH per_interval AS (
  SELECT
    trial,
    boundary,
    "interval",
    list_max(list(list_position(fidelities(), fidelity))) AS weakest,
    CASE WHEN bool_and(energy_j IS NOT NULL) THEN sum(energy_j) END AS energy_j,
    CASE WHEN bool_and(uncertainty_j IS NOT NULL) THEN sqrt(sum(uncertainty_j ** 2)) END AS uncertainty_j,
    CASE WHEN bool_and(energy_j * gain_fraction + offset_w * seconds IS NOT NULL)
      THEN sum(energy_j * gain_fraction + offset_w * seconds) END AS sensor_j,
    arg_max(disagreement, abs(disagreement)) AS disagreement,
    min(coverage) AS coverage,
    count(*) AS components,
    list_sort(list(DISTINCT meter)) AS meters,
    list_sort(list(DISTINCT method)) AS methods,
    CASE WHEN bool_and(energy_j IS NOT NULL) THEN sum(energy_j / seconds) END AS mean_w,
    CASE WHEN bool_and(peak_w IS NOT NULL) THEN sum(peak_w) END AS peak_w,
    list_sort(list_distinct(flatten(list(reasons)))) AS reasons
  FROM trial_components
  GROUP BY trial, boundary, "interval"
),
idle AS (
  SELECT
    trial,
    boundary,
    any_value(mean_w) FILTER ("interval" = 'loaded_idle') AS loaded_idle_w,
    any_value(mean_w) FILTER ("interval" = 'cold_idle') AS cold_idle_w
  FROM per_interval
  GROUP BY trial, boundary
)
SELECT
  p.trial,
  p.boundary,
  CASE WHEN t.simulated THEN 'simulated' ELSE fidelities()[p.weakest] END AS fidelity,
  p.energy_j,
  p.uncertainty_j,
  p.sensor_j,
  p.disagreement,
  p.coverage,
  p.components,
  p.meters,
  p.methods,
  p.mean_w,
  p.peak_w,
  i.loaded_idle_w,
  i.cold_idle_w,
  p.reasons
FROM per_interval AS p
JOIN trials AS t ON t.trial = p.trial
LEFT JOIN idle AS i ON i.trial = p.trial AND i.boundary = p.boundary
WHERE p."interval" = 'window';
