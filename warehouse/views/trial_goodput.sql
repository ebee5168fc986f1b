-- Each trial against the limits on latency of its own sweep (`slo`). NULL where the sweep has none. A limit on a
-- percentile of the trial is a limit on each request's own latency for the goodput: the loosest one of each latency.
-- For other limits see `goodput`.
--
-- trial: trial
-- slo: the sweep's limits, as percentile names with milliseconds
-- slo_met: whether the trial's percentiles are within all limits
-- requests: requests that ended in the window
-- requests_good: those that met all limits themselves
-- attainment: share of requests that met all limits
-- goodput_requests_per_s: good requests / window [1/s]
-- goodput_tokens_per_s: their output tokens / window [tokens/s]
CREATE VIEW trial_goodput AS
WITH limits AS (
  SELECT
    sweep,
    max(limit_ms) FILTER (latency = 'ttft') AS ttft_limit_ms,
    max(limit_ms) FILTER (latency = 'tpot') AS tpot_limit_ms,
    max(limit_ms) FILTER (latency = 'itl') AS itl_limit_ms,
    max(limit_ms) FILTER (latency = 'e2e') AS e2e_limit_ms,
    list(latency || '_' || statistic || ' <= ' || limit_ms || ' ms' ORDER BY latency, statistic) AS slo
  FROM slos
  GROUP BY sweep
),
ended AS (
  SELECT
    l.*,
    t.sweep,
    t.window_s
  FROM request_latency AS l
  JOIN trials AS t ON t.trial = l.trial
  WHERE l.ended_at >= t.window_start_at AND l.ended_at < t.window_end_at AND l.status <> 'cancelled'
),
of_each AS (
  SELECT trial, sweep, 'ttft' AS latency, ttft_scheduled_ms AS ms FROM ended WHERE status = 'ok'
  UNION ALL
  SELECT trial, sweep, 'tpot', tpot_ms FROM ended WHERE status = 'ok'
  UNION ALL
  SELECT trial, sweep, 'itl', unnest(gaps_ms) FROM ended WHERE status = 'ok'
  UNION ALL
  SELECT trial, sweep, 'e2e', e2e_scheduled_ms FROM ended WHERE status = 'ok'
),
statistics AS (
  SELECT trial, any_value(sweep) AS sweep, latency, avg(ms) AS mean, quantile_cont(ms, [0.5, 0.9, 0.95, 0.99]) AS q
  FROM of_each
  WHERE sweep IN (SELECT sweep FROM slos)
  GROUP BY trial, latency
),
met AS (
  SELECT
    s.trial,
    bool_and(
      CASE b.statistic WHEN 'mean' THEN s.mean WHEN 'p50' THEN s.q[1] WHEN 'p90' THEN s.q[2] WHEN 'p95' THEN s.q[3] ELSE s.q[4] END
      <= b.limit_ms
    ) AS slo_met
  FROM statistics AS s
  JOIN slos AS b ON b.sweep = s.sweep AND b.latency = s.latency
  GROUP BY s.trial
),
judged AS (
  SELECT
    e.trial,
    e.window_s,
    b.slo,
    e.output_tokens,
    e.status = 'ok'
      AND (b.ttft_limit_ms IS NULL OR e.ttft_scheduled_ms <= b.ttft_limit_ms)
      AND (b.tpot_limit_ms IS NULL OR coalesce(e.tpot_ms, 0) <= b.tpot_limit_ms)
      AND (b.itl_limit_ms IS NULL OR coalesce(e.itl_p99_ms, 0) <= b.itl_limit_ms)
      AND (b.e2e_limit_ms IS NULL OR e.e2e_scheduled_ms <= b.e2e_limit_ms) AS good
  FROM ended AS e
  JOIN limits AS b ON b.sweep = e.sweep
)
SELECT
  j.trial,
  any_value(j.slo) AS slo,
  any_value(m.slo_met) AS slo_met,
  count(*) AS requests,
  count(*) FILTER (j.good) AS requests_good,
  count(*) FILTER (j.good) / count(*) AS attainment,
  count(*) FILTER (j.good) / any_value(j.window_s) AS goodput_requests_per_s,
  coalesce(sum(j.output_tokens) FILTER (j.good), 0) / any_value(j.window_s) AS goodput_tokens_per_s
FROM judged AS j
LEFT JOIN met AS m ON m.trial = j.trial
GROUP BY j.trial;
