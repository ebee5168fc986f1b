-- Goodput and energy together, for each trial of a sweep with limits on latency (`slo`), by boundary.
--
-- trial: trial
-- cell: cell
-- boundary: what the energy contains
-- fidelity: how the energy arises
-- valid: whether the trial ran to its end and nothing speaks against the figure
-- slo: the sweep's limits
-- slo_met: whether the trial's percentiles are within all limits
-- attainment: share of requests that met all limits themselves
-- goodput_tokens_per_s: output tokens of such requests / window [tokens/s]
-- goodput_tokens_per_joule: output tokens of such requests / window energy [tokens/J]
-- j_per_good_token: window energy / output tokens of such requests [J/token]
CREATE VIEW goodput_results AS
SELECT
  g.trial,
  r.cell,
  r.boundary,
  r.fidelity,
  r.valid,
  g.slo,
  g.slo_met,
  g.attainment,
  g.goodput_tokens_per_s,
  g.goodput_tokens_per_s * r.window_s / nullif(r.energy_j, 0) AS goodput_tokens_per_joule,
  r.energy_j / nullif(g.goodput_tokens_per_s * r.window_s, 0) AS j_per_good_token
FROM trial_goodput AS g
JOIN trial_results AS r ON r.trial = g.trial;
