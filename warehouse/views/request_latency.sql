-- One request with its latencies: the one place where they are defined. From the token traces of `requests`; times are
-- those of the load client, at the read. What was never sent or never answered has NULL. TTFT and end to end are given twice: from sending, and from the instant at which the traffic wanted the request
-- sent. In an open loop a client or server that falls behind shows in the second only; in a closed loop both are the
-- same but for the client's own delay. TTFT, TPOT and ITL as in MLPerf Inference's and NVIDIA's definitions: TPOT leaves
-- out the first token, ITL is per token and not per chunk. Normalised latency as in Orca and vLLM (Kwon et al., SOSP
-- 2023): end to end over the length of the answer.
--
-- trial: trial
-- node: node of the load client
-- request: number of the request in the trial
-- status: how it ended
-- scheduled_at: when the traffic wanted it sent
-- sent_at: when it was handed to the socket
-- ended_at: end of the answer, or of the attempt
-- timed_tokens: answer tokens whose arrival is known
-- output_tokens: answer tokens as the engine counts them
-- untimed_tokens: answer tokens whose arrival is not known
-- send_delay_ms: sending later than scheduled [ms]
-- ttft_ms: first token less sent [ms]
-- ttft_scheduled_ms: first token less scheduled [ms]
-- tpot_ms: (last token less first) / timed tokens after those of the first chunk [ms]
-- itl_p99_ms: 99th percentile of its own gaps [ms]
-- e2e_ms: last token less sent [ms]
-- e2e_scheduled_ms: last token less scheduled [ms]
-- normalised_ms: end to end over output tokens [ms/token]
-- gaps_ms: gaps between its tokens after the first chunk; that before a chunk of several is as many equal gaps [ms]
CREATE VIEW request_latency AS
WITH counted AS (
  SELECT
    *,
    CASE WHEN chunk_tokens IS NULL THEN len(chunk_dt_us) ELSE coalesce(list_sum(chunk_tokens), 0) END AS timed_tokens,
    CASE
      WHEN chunk_tokens IS NULL THEN list_transform(chunk_dt_us[2:], lambda dt: dt / 1e3)
      ELSE flatten(list_transform(
        range(2, len(chunk_dt_us) + 1),
        lambda i: list_transform(range(chunk_tokens[i]), lambda k: chunk_dt_us[i] / 1e3 / chunk_tokens[i])
      ))
    END AS gaps_ms
  FROM requests
)
SELECT
  trial,
  node,
  request,
  status,
  scheduled_at,
  sent_at,
  ended_at,
  timed_tokens::INTEGER AS timed_tokens,
  output_tokens,
  untimed_tokens,
  date_diff('microsecond', scheduled_at, sent_at) / 1e3 AS send_delay_ms,
  date_diff('microsecond', sent_at, first_token_at) / 1e3 AS ttft_ms,
  date_diff('microsecond', scheduled_at, first_token_at) / 1e3 AS ttft_scheduled_ms,
  date_diff('microsecond', first_token_at, last_token_at) / 1e3
    / nullif(timed_tokens - CASE WHEN chunk_tokens IS NULL THEN 1 ELSE chunk_tokens[1] END, 0) AS tpot_ms,
  list_aggregate(gaps_ms, 'quantile_cont', 0.99) AS itl_p99_ms,
  date_diff('microsecond', sent_at, last_token_at) / 1e3 AS e2e_ms,
  date_diff('microsecond', scheduled_at, last_token_at) / 1e3 AS e2e_scheduled_ms,
  date_diff('microsecond', sent_at, last_token_at) / 1e3 / nullif(output_tokens, 0) AS normalised_ms,
  gaps_ms
FROM counted;
