-- The same cell on different nodes: one row for each set of nodes that a cell's valid trials ran on. Whether the nodes
-- differ by more than chance is in `node_differences`.
--
-- cell: cell
-- boundary: what the energy contains
-- fidelity: how the energy arises
-- nodes: nodes of the trials
-- model: model
-- accelerator: accelerator
-- trials: valid trials there
-- starts: engine starts there
-- j_per_output_token: window energy / output tokens, geometric mean over its trials [J/token]
-- to_cell: its ratio to the geometric mean of the cell over all nodes, each set of nodes counting once
-- output_tokens_per_s: output rate [tokens/s]
-- mean_w: mean power in the window [W]
-- loaded_idle_w: mean power with the engine loaded and no requests [W]
CREATE VIEW node_results AS
WITH by_nodes AS (
  SELECT
    r.cell,
    r.boundary,
    r.fidelity,
    r.nodes,
    any_value(t.model) AS model,
    any_value(t.accelerator) AS accelerator,
    count(*)::INTEGER AS trials,
    count(DISTINCT r.start)::INTEGER AS starts,
    exp(avg(ln(r.j_per_output_token))) AS j_per_output_token,
    avg(r.output_tokens_per_s) AS output_tokens_per_s,
    avg(r.mean_w) AS mean_w,
    avg(r.loaded_idle_w) AS loaded_idle_w
  FROM trial_results AS r
  JOIN trials AS t ON t.trial = r.trial
  WHERE r.valid AND r.j_per_output_token > 0
  GROUP BY r.cell, r.boundary, r.fidelity, r.nodes
)
SELECT
  cell,
  boundary,
  fidelity,
  nodes,
  model,
  accelerator,
  trials,
  starts,
  j_per_output_token,
  j_per_output_token / exp(avg(ln(j_per_output_token)) OVER (PARTITION BY cell, boundary, fidelity)) AS to_cell,
  output_tokens_per_s,
  mean_w,
  loaded_idle_w
FROM by_nodes;
