-- One node's part in one trial: its devices and its intervals, on that node's clock.
--
-- trial: trial
-- node: node
-- boot: boot id of its kernel
-- part: place of the node in the trial, from 1
-- devices: GPU UUIDs, or `cpu`
-- on_cpu: whether the engine ran on the CPU
-- accelerator: accelerator as found
-- window_start_at: start of the measured window
-- window_end_at: its end, not part of it
-- window_s: its length [s]
-- cold_idle_start_at: start of the idle interval without an engine
-- cold_idle_end_at: its end
-- loaded_idle_start_at: start of the idle interval with the engine loaded
-- loaded_idle_end_at: its end
CREATE VIEW trial_nodes AS
WITH parts AS (
  SELECT trial, unnest(nodes) AS n, generate_subscripts(nodes, 1)::INTEGER AS part
  FROM manifests
  WHERE duplicate_of IS NULL
)
SELECT
  trial,
  n.node AS node,
  n.boot AS boot,
  part,
  n.devices AS devices,
  n.devices = ['cpu'] AS on_cpu,
  n.accelerator AS accelerator,
  make_timestamptz(n.window.start_us) AS window_start_at,
  make_timestamptz(n.window.end_us) AS window_end_at,
  (n.window.end_us - n.window.start_us) / 1e6 AS window_s,
  make_timestamptz(n.cold_idle.start_us) AS cold_idle_start_at,
  make_timestamptz(n.cold_idle.end_us) AS cold_idle_end_at,
  make_timestamptz(n.loaded_idle.start_us) AS loaded_idle_start_at,
  make_timestamptz(n.loaded_idle.end_us) AS loaded_idle_end_at
FROM parts;
