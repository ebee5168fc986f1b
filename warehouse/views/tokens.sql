-- One chunk of tokens as it arrived, from the token traces of `requests`.
--
-- trial: trial
-- node: node of the load client; `t` is on its clock
-- request: number of the request in the trial
-- chunk: number of the chunk in the request, from 1
-- t: when the chunk arrived
-- tokens: tokens in the chunk
CREATE VIEW tokens AS
WITH chunks AS (
  SELECT
    trial,
    node,
    request,
    sent_at,
    generate_subscripts(chunk_dt_us, 1)::INTEGER AS chunk,
    unnest(chunk_dt_us) AS dt_us,
    unnest(coalesce(chunk_tokens, list_transform(chunk_dt_us, lambda dt: 1))) AS tokens
  FROM requests
)
SELECT
  trial,
  node,
  request,
  chunk,
  sent_at + to_microseconds((sum(dt_us) OVER (PARTITION BY trial, node, request ORDER BY chunk))::BIGINT) AS t,
  tokens
FROM chunks;
