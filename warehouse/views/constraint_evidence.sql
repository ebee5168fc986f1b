-- What is known of the ceilings that one trial may have run into, in its window: activity counters and clock events of
-- its GPUs once a second, the engine's queue and KV cache, and the load client. NULL where nothing was read. NVML's
-- `utilization` is no evidence: it is 1 as long as any kernel runs.
--
-- trial: trial
-- compute: share of time that the matrix units worked, mean over GPUs
-- memory_bandwidth: share of time that the memory moved data, mean over GPUs
-- kv_capacity: highest fill of the KV cache, 0 to 1
-- power_cap: share of readings in which a GPU was slowed down for power
-- thermal: share of readings in which a GPU was slowed down for heat
-- host: CPU of the load client, as a share of one core; 1 where its event loop lagged
-- waiting: requests in the engine's queue, mean
-- preemptions: requests that the engine put back
CREATE VIEW constraint_evidence AS
WITH windows AS (
  SELECT trial, node, unnest(devices) AS device, window_start_at, window_end_at
  FROM trial_nodes
  WHERE NOT on_cpu AND window_start_at IS NOT NULL
),
gpus AS (
  SELECT
    w.trial,
    avg(s.tensor_active) AS compute,
    avg(s.dram_active) AS memory_bandwidth,
    -- Bits 2 and 7 of NVML's clock event reasons: software power cap, and power brake. 5 and 6 are heat.
    avg((s.throttle_reasons & 132 <> 0)::INTEGER) AS power_cap,
    avg((s.throttle_reasons & 96 <> 0)::INTEGER) AS thermal
  FROM windows AS w
  JOIN device_state AS s
    ON s.node = w.node AND s.device = w.device AND s.t >= w.window_start_at AND s.t <= w.window_end_at
  GROUP BY w.trial
),
engines AS (
  SELECT
    t.trial,
    max(e.kv_cache_usage) AS kv_capacity,
    avg(e.waiting) AS waiting,
    max(e.preemptions_total) - min(e.preemptions_total) AS preemptions
  FROM trials AS t
  JOIN engine_state AS e ON e.trial = t.trial AND e.t >= t.window_start_at AND e.t <= t.window_end_at
  GROUP BY t.trial
)
SELECT
  t.trial,
  g.compute,
  g.memory_bandwidth,
  e.kv_capacity,
  g.power_cap,
  g.thermal,
  CASE WHEN t.client_lag_p99_ms > 5 THEN 1 ELSE t.client_cpu_fraction END AS host,
  e.waiting,
  e.preemptions
FROM trials AS t
LEFT JOIN gpus AS g ON g.trial = t.trial
LEFT JOIN engines AS e ON e.trial = t.trial
WHERE t.window_start_at IS NOT NULL;
