-- How many attempts one response of use takes, by cell: 1 / the share of answers that are right (`quality`), or where no
-- score is known 1 / the share of requests that met the sweep's limits on latency; the row says which. NULL where neither
-- is known.
-- Macro: attempts(quality_task)
-- Example: FROM attempts('gsm8k')
--
-- cell: cell
-- attempts: mean number of attempts for one response that is of use
-- attempts_from: `quality`, `slo`, or NULL
CREATE MACRO attempts(quality_task) AS TABLE
WITH scores AS (
  SELECT model, quantization, kv_type, avg(score) AS score
  FROM quality
  WHERE task = quality_task
  GROUP BY model, quantization, kv_type
),
attained AS (
  SELECT t.cell, avg(g.attainment) AS attainment
  FROM trial_goodput AS g
  JOIN trials AS t ON t.trial = g.trial
  GROUP BY t.cell
),
cells AS (
  SELECT cell, any_value(model) AS model, any_value(quantization) AS quantization, any_value(kv_type) AS kv_type
  FROM trials
  GROUP BY cell
)
SELECT
  c.cell,
  1 / nullif(coalesce(s.score, a.attainment), 0) AS attempts,
  CASE WHEN s.score IS NOT NULL THEN 'quality' WHEN a.attainment IS NOT NULL THEN 'slo' END AS attempts_from
FROM cells AS c
LEFT JOIN scores AS s ON s.model = c.model AND s.quantization = c.quantization AND s.kv_type = c.kv_type
LEFT JOIN attained AS a ON a.cell = c.cell;
