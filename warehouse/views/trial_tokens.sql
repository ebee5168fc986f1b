-- What the load client saw in the window of one trial. Output tokens are those received in the window; input tokens are
-- the whole prompts whose first token falls into it. Times are computed per request, over the completed requests that
-- ended in the window; the gap before a chunk of several tokens counts as that many equal gaps.
--
-- trial: trial
-- window_s: length of the window [s]
-- output_tokens: tokens received in the window
-- input_tokens: prompt tokens of requests whose first token falls into the window; as sent where the engine gave no count
-- cached_tokens: those of them that the engine took from its cache
-- untimed_tokens: tokens of requests that ended in the window whose arrival could not be timed; in no other count
-- requests_completed: requests that ended well in the window
-- requests_failed: requests that failed, broke or timed out in the window
-- token_mismatches: completed requests whose timed and untimed tokens do not add up to the engine's own count
-- on_other_clock: requests of a client on a node that has no window of its own in the trial
-- output_tokens_per_s: output tokens in the window / its length [tokens/s]
-- ttft_p50_ms: time from sending to the first token, median [ms]
-- ttft_p90_ms: 90th percentile [ms]
-- ttft_p99_ms: 99th percentile [ms]
-- tpot_p50_ms: time per output token after the first chunk, median over requests [ms]
-- tpot_p90_ms: 90th percentile [ms]
-- tpot_p99_ms: 99th percentile [ms]
-- itl_p50_ms: gap between tokens, median over tokens [ms]
-- itl_p90_ms: 90th percentile [ms]
-- itl_p99_ms: 99th percentile [ms]
-- e2e_p50_ms: time from sending to the last token, median [ms]
-- e2e_p90_ms: 90th percentile [ms]
-- e2e_p99_ms: 99th percentile [ms]
-- send_delay_p99_ms: how late requests were sent, 99th percentile [ms]
CREATE VIEW trial_tokens AS
WITH windowed AS (
  SELECT
    r.*,
    coalesce(n.window_start_at, t.window_start_at) AS w0,
    coalesce(n.window_end_at, t.window_end_at) AS w1,
    n.node IS NULL AS on_other_clock,
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
    sent_at < w1 AND ended_at >= w0 AS active_inside
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
gaps AS (
  SELECT
    trial,
    unnest(
      CASE
        WHEN chunk_tokens IS NULL THEN chunk_dt_us[2:]::DOUBLE[]
        ELSE flatten(list_transform(
          range(2, len(chunk_dt_us) + 1),
          lambda i: list_transform(range(chunk_tokens[i]), lambda k: chunk_dt_us[i] / chunk_tokens[i])
        ))
      END
    ) AS gap_us
  FROM marked
  WHERE ended_inside AND status = 'ok'
),
itl AS (
  SELECT trial, quantile_cont(gap_us, [0.5, 0.9, 0.99]) AS q
  FROM gaps
  GROUP BY trial
),
timed AS (
  SELECT
    *,
    date_diff('microsecond', sent_at, first_token_at) AS ttft_us,
    date_diff('microsecond', sent_at, last_token_at) AS e2e_us,
    date_diff('microsecond', first_token_at, last_token_at)
      / nullif(timed_tokens - CASE WHEN chunk_tokens IS NULL THEN 1 ELSE chunk_tokens[1] END, 0) AS tpot_us
  FROM marked
),
per_trial AS (
  SELECT
    trial,
    coalesce(sum(timed_tokens) FILTER (touched AND whole), 0) AS whole_tokens,
    coalesce(sum(coalesce(input_tokens, asked_input_tokens)) FILTER (first_token_at >= w0 AND first_token_at < w1), 0)
      AS input_tokens,
    sum(cached_tokens) FILTER (first_token_at >= w0 AND first_token_at < w1) AS cached_tokens,
    coalesce(sum(untimed_tokens) FILTER (ended_inside), 0) AS untimed_tokens,
    count(*) FILTER (ended_inside AND status = 'ok') AS requests_completed,
    count(*) FILTER (ended_inside AND status IN ('failed', 'broken', 'timeout')) AS requests_failed,
    count(*) FILTER (
      active_inside AND status = 'ok' AND timed_tokens + untimed_tokens IS DISTINCT FROM output_tokens
    ) AS token_mismatches,
    count(*) FILTER (on_other_clock) AS on_other_clock,
    quantile_cont(ttft_us, [0.5, 0.9, 0.99]) FILTER (ended_inside AND status = 'ok') AS ttft,
    quantile_cont(tpot_us, [0.5, 0.9, 0.99]) FILTER (ended_inside AND status = 'ok') AS tpot,
    quantile_cont(e2e_us, [0.5, 0.9, 0.99]) FILTER (ended_inside AND status = 'ok') AS e2e,
    quantile_cont(date_diff('microsecond', scheduled_at, sent_at), 0.99) FILTER (active_inside) AS send_delay
  FROM timed
  GROUP BY trial
)
SELECT
  t.trial,
  t.window_s,
  (p.whole_tokens + coalesce(a.tokens, 0))::BIGINT AS output_tokens,
  p.input_tokens::BIGINT AS input_tokens,
  p.cached_tokens::BIGINT AS cached_tokens,
  p.untimed_tokens::BIGINT AS untimed_tokens,
  p.requests_completed,
  p.requests_failed,
  p.token_mismatches,
  p.on_other_clock,
  (p.whole_tokens + coalesce(a.tokens, 0)) / t.window_s AS output_tokens_per_s,
  p.ttft[1] / 1e3 AS ttft_p50_ms,
  p.ttft[2] / 1e3 AS ttft_p90_ms,
  p.ttft[3] / 1e3 AS ttft_p99_ms,
  p.tpot[1] / 1e3 AS tpot_p50_ms,
  p.tpot[2] / 1e3 AS tpot_p90_ms,
  p.tpot[3] / 1e3 AS tpot_p99_ms,
  i.q[1] / 1e3 AS itl_p50_ms,
  i.q[2] / 1e3 AS itl_p90_ms,
  i.q[3] / 1e3 AS itl_p99_ms,
  p.e2e[1] / 1e3 AS e2e_p50_ms,
  p.e2e[2] / 1e3 AS e2e_p90_ms,
  p.e2e[3] / 1e3 AS e2e_p99_ms,
  p.send_delay / 1e3 AS send_delay_p99_ms
FROM trials AS t
LEFT JOIN per_trial AS p ON p.trial = t.trial
LEFT JOIN at_edges AS a ON a.trial = t.trial
LEFT JOIN itl AS i ON i.trial = t.trial
WHERE t.window_start_at IS NOT NULL;
