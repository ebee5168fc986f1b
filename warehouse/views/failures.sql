-- Trials that failed, and trials that ran to their end and have reasons against them, with what to look at.
--
-- sweep: sweep
-- trial: trial
-- cell: cell
-- model: model
-- quantization: precision of the weights
-- engine: engine
-- accelerator: accelerator
-- concurrency: requests in flight
-- start: number of the engine start
-- repeat: number of the repeat
-- attempt: number of the attempt
-- outcome: `failed`, or `invalid` for a trial that ran to its end
-- failure_class: why it failed
-- reasons: what speaks against it, in the narrowest boundary
-- error: the error in words
-- log: the engine's log, below the warehouse
-- started_at: start of the trial
CREATE VIEW failures AS
WITH narrowest AS (
  SELECT trial, arg_min(reasons, list_position(['cpu', 'gpu', 'gpu+cpu', 'node'], boundary)) AS reasons
  FROM trial_results
  GROUP BY trial
)
SELECT
  t.sweep,
  t.trial,
  t.cell,
  t.model,
  t.quantization,
  t.engine,
  t.accelerator,
  t.concurrency,
  t.start,
  t.repeat,
  t.attempt,
  CASE WHEN t.outcome = 'done' THEN 'invalid' ELSE t.outcome END AS outcome,
  t.failure_class,
  coalesce(n.reasons, CASE WHEN t.outcome = 'done' THEN list_distinct(t.reasons || ['no_power']) ELSE t.reasons END) AS reasons,
  t.error,
  'logs/' || t.engine_start || '.log' AS log,
  t.started_at
FROM trials AS t
LEFT JOIN narrowest AS n ON n.trial = t.trial
WHERE t.outcome <> 'done' OR n.trial IS NULL OR len(n.reasons) > 0
ORDER BY t.started_at, t.trial;
