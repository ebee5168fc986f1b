-- How the power of a trial's window was spread over time, by boundary. Percentiles are by time and add up over devices as if
-- all had their high moments together: upper bounds where there are several. A counter that steps ten times a second shows
-- nothing shorter than its steps.
--
-- trial: trial
-- cell: cell
-- boundary: what the energy contains
-- fidelity: how the energy arises
-- components: devices, sockets or servers that the power is summed over
-- mean_w: mean power [W]
-- p50_w: power not exceeded for half of the window [W]
-- p90_w: for 90 % of it [W]
-- p99_w: for 99 % of it [W]
-- peak_w: highest power reading [W]
-- peak_to_mean: highest power over mean
-- burst_share: share of the window with power over 1.1 times its mean, of the component that has most of it
-- loaded_idle_w: mean power with the engine loaded and no requests [W]
-- idle_tax: the same as a share of mean power: what is paid for being ready
CREATE VIEW power_shape AS
WITH spread AS (
  SELECT
    c.trial,
    c.boundary,
    count(*)::INTEGER AS components,
    CASE WHEN bool_and(e.p50_w IS NOT NULL) THEN sum(e.p50_w) END AS p50_w,
    CASE WHEN bool_and(e.p90_w IS NOT NULL) THEN sum(e.p90_w) END AS p90_w,
    CASE WHEN bool_and(e.p99_w IS NOT NULL) THEN sum(e.p99_w) END AS p99_w,
    max(e.burst_share) AS burst_share
  FROM trial_components AS c
  JOIN trial_energy AS e
    ON e.trial = c.trial AND e."interval" = c."interval" AND e.node = c.node AND e.device = c.device
    AND e.scope = c.scope AND e.meter = c.meter AND e.method = c.method
  WHERE c."interval" = 'window'
  GROUP BY c.trial, c.boundary
)
SELECT
  p.trial,
  t.cell,
  p.boundary,
  p.fidelity,
  s.components,
  p.mean_w,
  s.p50_w,
  s.p90_w,
  s.p99_w,
  p.peak_w,
  p.peak_w / nullif(p.mean_w, 0) AS peak_to_mean,
  s.burst_share,
  p.loaded_idle_w,
  p.loaded_idle_w / nullif(p.mean_w, 0) AS idle_tax
FROM trial_power AS p
JOIN trials AS t ON t.trial = p.trial
JOIN spread AS s ON s.trial = p.trial AND s.boundary = p.boundary;
