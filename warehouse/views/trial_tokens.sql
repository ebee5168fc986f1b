-- What the load client saw in the window of one trial. Output tokens are those received in the window; input tokens are
-- the whole prompts whose first token falls into it. Latencies are those of `request_latency`, over the requests that
-- ended in the window and answered in full (`ok`, or `truncated`).
--
-- trial: trial
-- window_s: length of the window [s]
-- output_tokens: tokens received in the window
-- input_tokens: prompt tokens of requests whose first token falls into the window; as sent where the engine gave no count
-- cached_tokens: those of them that the engine took from its cache
-- reasoning_tokens: answer tokens that were thinking, of the requests that ended in the window; NULL where not told
-- untimed_tokens: tokens of requests that ended in the window whose arrival could not be timed; in no other count
-- requests_completed: requests that ended well in the window
-- requests_truncated: requests that ended in the window with fewer tokens than the fixed length that was asked for
-- requests_failed: requests that failed, broke or timed out in the window
-- token_mismatches: completed requests whose timed and untimed tokens do not add up to the engine's own count
-- on_other_clock: requests of a client on a node that has no window of its own in the trial, nor kept the first node's clock
-- output_tokens_per_s: output tokens in the window / its length [tokens/s]
-- requests_per_s: requests that ended well in the window / its length [1/s]
-- ttft_p50_ms: time from sending to the first token, median [ms]
-- ttft_p90_ms: 90th percentile [ms]
-- ttft_p99_ms: 99th percentile [ms]
-- ttft_scheduled_p50_ms: time from the scheduled instant to the first token, median [ms]
-- ttft_scheduled_p99_ms: 99th percentile [ms]
-- tpot_p50_ms: time per output token after the first chunk, median over requests [ms]
-- tpot_p90_ms: 90th percentile [ms]
-- tpot_p99_ms: 99th percentile [ms]
-- itl_p50_ms: gap between tokens, median over tokens [ms]
-- itl_p90_ms: 90th percentile [ms]
-- itl_p99_ms: 99th percentile [ms]
-- e2e_p50_ms: time from sending to the last token, median [ms]
-- e2e_p90_ms: 90th percentile [ms]
-- e2e_p99_ms: 99th percentile [ms]
-- e2e_scheduled_p50_ms: time from the scheduled instant to the last token, median [ms]
-- e2e_scheduled_p99_ms: 99th percentile [ms]
-- normalised_p50_ms: end to end over output tokens, median over requests [ms/token]
-- send_delay_p99_ms: how late requests were sent, 99th percentile [ms]
CREATE VIEW trial_tokens AS
WITH windowed AS (
  SELECT
    r.*,
    coalesce(n.window_start_at, t.window_start_at) AS w0,
    coalesce(n.window_end_at, t.window_end_at) AS w1,
    n.node IS NULL AND r.node IS DISTINCT FROM t.client_node AS on_other_clock,
    CASE WHEN r.chunk_tokens IS NULL THEN len(r.chunk_dt_us) ELSE coalesce(list_sum(r.chunk_tokens), 0) END AS timed_tokens
  FROM requests AS r
  JOIN trials AS t ON t.trial = r.trial
  LEFT JOIN trial_nodes AS n ON n.trial = r.trial AND n.node = r.node AND n.window_start_at IS NOT NULL
  WHERE t.window_start_at IS NOT NULL
),
marked AS (
  SELECT
    *,
    first_token_at >= w0 AND last_token_at < w1 AS whole,
    first_token_at < w1 AND last_token_at >= w0 AS touched,
    ended_at >= w0 AND ended_at < w1 AS ended_inside,
    sent_at < w1 AND ended_at >= w0 AS active_inside,
    status IN ('ok', 'truncated') AS answered
  FROM windowed
),
-- Only requests that straddle an edge need the instants of their chunks; the view `tokens` has those of all.
straddling AS (
  SELECT
    trial, node, request, w0, w1, sent_at,
    generate_subscripts(chunk_dt_us, 1) AS chunk,
    unnest(chunk_dt_us) AS dt_us,
    unnest(coalesce(chunk_tokens, list_transform(chunk_dt_us, lambda dt: 1))) AS tokens
  FROM marked
  WHERE touched AND NOT whole
),
arrived AS (
  SELECT
    trial, tokens, w0, w1,
    sent_at + to_microseconds((sum(dt_us) OVER (PARTITION BY trial, node, request ORDER BY chunk))::BIGINT) AS t
  FROM straddling
),
at_edges AS (
  SELECT trial, sum(tokens) FILTER (t >= w0 AND t < w1) AS tokens
  FROM arrived
  GROUP BY trial
),
per_trial AS (
  SELECT
    trial,
    coalesce(sum(timed_tokens) FILTER (touched AND whole), 0) AS whole_tokens,
    coalesce(sum(coalesce(input_tokens, asked_input_tokens)) FILTER (first_token_at >= w0 AND first_token_at < w1), 0)
      AS input_tokens,
    sum(cached_tokens) FILTER (first_token_at >= w0 AND first_token_at < w1) AS cached_tokens,
    sum(reasoning_tokens) FILTER (ended_inside) AS reasoning_tokens,
    coalesce(sum(untimed_tokens) FILTER (ended_inside), 0) AS untimed_tokens,
    count(*) FILTER (ended_inside AND status = 'ok') AS requests_completed,
    count(*) FILTER (ended_inside AND status = 'truncated') AS requests_truncated,
    count(*) FILTER (ended_inside AND status IN ('failed', 'broken', 'timeout')) AS requests_failed,
    count(*) FILTER (
      active_inside AND answered AND timed_tokens + untimed_tokens IS DISTINCT FROM output_tokens
    ) AS token_mismatches,
    count(*) FILTER (on_other_clock) AS on_other_clock,
    quantile_cont(date_diff('microsecond', scheduled_at, sent_at), 0.99) FILTER (active_inside) AS send_delay
  FROM marked
  GROUP BY trial
),
measured AS (
  SELECT l.*
  FROM request_latency AS l
  SEMI JOIN marked AS m ON m.trial = l.trial AND m.node = l.node AND m.request = l.request AND m.ended_inside AND m.answered
),
latency AS (
  SELECT
    trial,
    quantile_cont(ttft_ms, [0.5, 0.9, 0.99]) AS ttft,
    quantile_cont(ttft_scheduled_ms, [0.5, 0.99]) AS ttft_scheduled,
    quantile_cont(tpot_ms, [0.5, 0.9, 0.99]) AS tpot,
    quantile_cont(e2e_ms, [0.5, 0.9, 0.99]) AS e2e,
    quantile_cont(e2e_scheduled_ms, [0.5, 0.99]) AS e2e_scheduled,
    quantile_cont(normalised_ms, 0.5) AS normalised
  FROM measured
  GROUP BY trial
),
itl AS (
  SELECT trial, quantile_cont(gap_ms, [0.5, 0.9, 0.99]) AS q
  FROM (SELECT trial, unnest(gaps_ms) AS gap_ms FROM measured)
  GROUP BY trial
)
SELECT
  t.trial,
  t.window_s,
  (p.whole_tokens + coalesce(a.tokens, 0))::BIGINT AS output_tokens,
  p.input_tokens::BIGINT AS input_tokens,
  p.cached_tokens::BIGINT AS cached_tokens,
  p.reasoning_tokens::BIGINT AS reasoning_tokens,
  p.untimed_tokens::BIGINT AS untimed_tokens,
  p.requests_completed,
  p.requests_truncated,
  p.requests_failed,
  p.token_mismatches,
  p.on_other_clock,
  (p.whole_tokens + coalesce(a.tokens, 0)) / t.window_s AS output_tokens_per_s,
  p.requests_completed / t.window_s AS requests_per_s,
  l.ttft[1] AS ttft_p50_ms,
  l.ttft[2] AS ttft_p90_ms,
  l.ttft[3] AS ttft_p99_ms,
  l.ttft_scheduled[1] AS ttft_scheduled_p50_ms,
  l.ttft_scheduled[2] AS ttft_scheduled_p99_ms,
  l.tpot[1] AS tpot_p50_ms,
  l.tpot[2] AS tpot_p90_ms,
  l.tpot[3] AS tpot_p99_ms,
  i.q[1] AS itl_p50_ms,
  i.q[2] AS itl_p90_ms,
  i.q[3] AS itl_p99_ms,
  l.e2e[1] AS e2e_p50_ms,
  l.e2e[2] AS e2e_p90_ms,
  l.e2e[3] AS e2e_p99_ms,
  l.e2e_scheduled[1] AS e2e_scheduled_p50_ms,
  l.e2e_scheduled[2] AS e2e_scheduled_p99_ms,
  l.normalised AS normalised_p50_ms,
  p.send_delay / 1e3 AS send_delay_p99_ms
FROM trials AS t
LEFT JOIN per_trial AS p ON p.trial = t.trial
LEFT JOIN at_edges AS a ON a.trial = t.trial
LEFT JOIN latency AS l ON l.trial = t.trial
LEFT JOIN itl AS i ON i.trial = t.trial
WHERE t.window_start_at IS NOT NULL;
