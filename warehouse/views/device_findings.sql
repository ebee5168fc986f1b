-- What a GPU's own facts, read once a second, say against a trial: one row for each device of a trial whose window has
-- a reading that does. Devices without such a reading have no row.
--
-- trial: trial
-- node: node of the device
-- device: GPU UUID
-- throttled_readings: readings in which the GPU was slowed down for heat
-- foreign_readings: readings with a process on the GPU that is not the deployment's
-- limit_readings: readings under another power limit than the one that was asked for
-- reasons: what that says against the trial
CREATE VIEW device_findings AS
WITH windows AS (
  SELECT n.trial, n.node, unnest(n.devices) AS device, n.window_start_at, n.window_end_at, t.power_limit_w
  FROM trial_nodes AS n
  JOIN trials AS t ON t.trial = n.trial
  WHERE NOT n.on_cpu AND n.window_start_at IS NOT NULL
),
-- Bits 5 and 6 of NVML's clock event reasons: slowed down by software, and by hardware, for heat.
suspicious AS (
  SELECT
    node,
    device,
    t,
    coalesce(throttle_reasons & 96, 0) <> 0 AS throttled,
    coalesce(foreign_processes, 0) > 0 AS used_by_others
  FROM device_state
  WHERE throttle_reasons & 96 <> 0 OR foreign_processes > 0
),
found AS (
  SELECT w.trial, w.node, w.device, s.throttled, s.used_by_others, false AS other_limit
  FROM windows AS w
  JOIN suspicious AS s ON s.node = w.node AND s.device = w.device
  WHERE s.t >= w.window_start_at AND s.t <= w.window_end_at
  UNION ALL
  SELECT w.trial, w.node, w.device, false, false, true
  FROM (FROM windows WHERE power_limit_w IS NOT NULL) AS w
  JOIN device_state AS s ON s.node = w.node AND s.device = w.device
  WHERE s.t >= w.window_start_at AND s.t <= w.window_end_at AND s.power_limit_mw <> w.power_limit_w * 1000
),
counted AS (
  SELECT
    trial,
    node,
    device,
    count(*) FILTER (throttled) AS throttled_readings,
    count(*) FILTER (used_by_others) AS foreign_readings,
    count(*) FILTER (other_limit) AS limit_readings
  FROM found
  GROUP BY trial, node, device
)
SELECT
  *,
  CASE WHEN throttled_readings > 0 THEN ['throttled_thermal'] ELSE [] END
  || CASE WHEN foreign_readings > 0 THEN ['foreign_process'] ELSE [] END
  || CASE WHEN limit_readings > 0 THEN ['config_mismatch'] ELSE [] END AS reasons
FROM counted;
