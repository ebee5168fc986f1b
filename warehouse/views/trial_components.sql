-- The readings that a boundary's energy is made of: for each trial, boundary, interval, node, device and scope the one
-- meter and the one method that count. A meter that has a figure for all its devices is taken before one that lacks some,
-- one that measures before one that models, then the one whose figure is the least uncertain; between counter and
-- integral of power, `trial_energy` says which is chosen. Scopes that contain each other are never in one boundary.
--
-- trial: trial
-- boundary: what the energy contains
-- interval: `window`, `cold_idle` or `loaded_idle`
-- node: node of the meter
-- device: device
-- scope: what the meter's number contains
-- meter: meter
-- method: `counter` or `integral`
-- fidelity: how the figure arises; an integral of power from a device that also counts is `sampled`
-- seconds: length of the interval [s]
-- energy_j: energy of the interval; NULL where the readings do not support it [J]
-- uncertainty_j: half width at 95 %, without the sensor's gain and offset [J]
-- edge_j: its part from the edges of the interval [J]
-- transient_j: its part from power that the sensor did not look at [J]
-- clock_j: its part from the clocks [J]
-- gain_fraction: bound of the sensor's gain error, common to the device; NULL: not known
-- offset_w: bound of the sensor's offset, likewise [W]
-- disagreement: integral / counter - 1; NULL where there are not both
-- coverage: share of the interval between readings not too far apart
-- peak_w: highest power reading [W]
-- reasons: what speaks against the figure, from both methods
CREATE VIEW trial_components AS
WITH rows AS (
  SELECT
    e.*,
    t.on_cpu,
    -- Sockets of one node come from one meter; GPUs may each have their own.
    CASE WHEN starts_with(e.scope, 'gpu_') THEN e.device ELSE '' END AS unit,
    e.meter = 'none' AS missing
  FROM trial_energy AS e
  JOIN trials AS t ON t.trial = e.trial
),
per_device AS (
  SELECT
    trial, node, scope, unit, meter, device, missing,
    bool_and(energy_j IS NULL) AS lacks,
    min(list_position(fidelities(), fidelity)) AS fidelity,
    first(uncertainty_j ORDER BY NOT chosen) AS uncertainty_j
  FROM rows
  WHERE "interval" = 'window'
  GROUP BY ALL
),
chosen_meter AS (
  SELECT trial, node, scope, unit, arg_min(meter, (missing, lacks, fidelity, uncertainty_j, meter)) AS meter
  FROM (
    SELECT
      trial, node, scope, unit, meter, missing,
      bool_or(lacks) AS lacks,
      max(fidelity) AS fidelity,
      coalesce(sqrt(sum(uncertainty_j ** 2)), 'inf'::DOUBLE) AS uncertainty_j
    FROM per_device
    GROUP BY ALL
  )
  GROUP BY trial, node, scope, unit
),
of_meter AS (
  SELECT
    r.*,
    max(r.peak_w) FILTER (r.method = 'integral') OVER same AS peak_of_power_w,
    flatten(list(r.reasons) OVER same) AS all_reasons,
    row_number() OVER (
      PARTITION BY r.trial, r."interval", r.node, r.device, r.scope
      ORDER BY NOT r.chosen
    ) AS place
  FROM rows AS r
  JOIN chosen_meter AS c
    ON c.trial = r.trial AND c.node = r.node AND c.scope = r.scope AND c.unit = r.unit AND c.meter = r.meter
  WINDOW same AS (PARTITION BY r.trial, r."interval", r.node, r.device, r.scope)
),
picked AS (
  SELECT
    trial, "interval", node, device, scope, meter, method, on_cpu,
    CASE WHEN method = 'integral' AND fidelity = 'counter' THEN 'sampled' ELSE fidelity END AS fidelity,
    date_diff('microsecond', start_at, end_at) / 1e6 AS seconds,
    energy_j, uncertainty_j, edge_j, transient_j, clock_j, gain_fraction, offset_w, disagreement, coverage,
    coalesce(peak_of_power_w, peak_w) AS peak_w,
    list_sort(list_distinct(all_reasons)) AS reasons
  FROM of_meter
  WHERE place = 1
),
-- Which scopes every node of the trial has in its window.
whole AS (
  SELECT p.trial, p.scope
  FROM (SELECT trial, scope, count(DISTINCT node) AS nodes FROM picked WHERE "interval" = 'window' GROUP BY ALL) AS p
  JOIN (SELECT trial, count(*) AS nodes FROM trial_nodes WHERE window_start_at IS NOT NULL GROUP BY trial) AS n
    ON n.trial = p.trial AND n.nodes = p.nodes
),
scopes AS (
  SELECT
    t.trial,
    t.on_cpu,
    coalesce(list(w.scope) FILTER (w.scope IS NOT NULL), []) AS had
  FROM trials AS t
  LEFT JOIN whole AS w ON w.trial = t.trial
  GROUP BY t.trial, t.on_cpu
),
contents AS (
  SELECT trial, 'cpu' AS boundary, [CASE WHEN list_contains(had, 'cpu_package') THEN 'cpu_package' ELSE 'cpu_process' END] AS holds
  FROM scopes
  WHERE on_cpu
  UNION ALL
  SELECT trial, 'gpu', ['gpu_board'] FROM scopes WHERE NOT on_cpu AND list_contains(had, 'gpu_board')
  UNION ALL
  SELECT trial, 'gpu+cpu', CASE WHEN list_contains(had, 'gpu_module') THEN ['gpu_module'] ELSE ['gpu_board', 'cpu_package'] END
  FROM scopes
  WHERE NOT on_cpu AND (list_contains(had, 'gpu_module') OR list_has_all(had, ['gpu_board', 'cpu_package']))
  UNION ALL
  SELECT trial, 'node', ['node_ac'] FROM scopes WHERE list_contains(had, 'node_ac')
)
SELECT
  p.trial,
  c.boundary,
  p."interval",
  p.node,
  p.device,
  p.scope,
  p.meter,
  p.method,
  p.fidelity,
  p.seconds,
  p.energy_j,
  p.uncertainty_j,
  p.edge_j,
  p.transient_j,
  p.clock_j,
  p.gain_fraction,
  p.offset_w,
  p.disagreement,
  p.coverage,
  p.peak_w,
  p.reasons
FROM picked AS p
JOIN contents AS c ON c.trial = p.trial AND list_contains(c.holds, p.scope);
