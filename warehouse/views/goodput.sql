-- Goodput of one trial: requests (and their tokens) per second that met all limits, over the requests that ended in the
-- window, however they ended: a failed request meets nothing. As in vLLM's benchmark and DistServe (Zhong et al., OSDI
-- 2024): each request is judged by its own latencies: TTFT and end to end from the scheduled instant, TPOT, and the 99th
-- percentile of its own gaps. NULL means no limit.
-- Macro: goodput(ttft_ms, tpot_ms, itl_ms, e2e_ms)
-- Example: FROM goodput(2000, 50, NULL, NULL)
--
-- trial: trial
-- requests: requests that ended in the window
-- requests_good: those that met all limits
-- attainment: share of requests that met all limits
-- goodput_requests_per_s: good requests / window [1/s]
-- goodput_tokens_per_s: their output tokens / window [tokens/s]
CREATE MACRO goodput(ttft_ms, tpot_ms, itl_ms, e2e_ms) AS TABLE
WITH judged AS (
  SELECT
    l.trial,
    t.window_s,
    l.output_tokens,
    l.status = 'ok'
      AND (ttft_ms IS NULL OR l.ttft_scheduled_ms <= ttft_ms)
      AND (tpot_ms IS NULL OR coalesce(l.tpot_ms, 0) <= tpot_ms)
      AND (itl_ms IS NULL OR coalesce(l.itl_p99_ms, 0) <= itl_ms)
      AND (e2e_ms IS NULL OR l.e2e_scheduled_ms <= e2e_ms) AS good
  FROM request_latency AS l
  JOIN trials AS t ON t.trial = l.trial
  WHERE l.ended_at >= t.window_start_at AND l.ended_at < t.window_end_at AND l.status <> 'cancelled'
)
SELECT
  trial,
  count(*) AS requests,
  count(*) FILTER (good) AS requests_good,
  count(*) FILTER (good) / count(*) AS attainment,
  count(*) FILTER (good) / any_value(window_s) AS goodput_requests_per_s,
  coalesce(sum(output_tokens) FILTER (good), 0) / any_value(window_s) AS goodput_tokens_per_s
FROM judged
GROUP BY trial;
