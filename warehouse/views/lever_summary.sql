-- What a lever does, over all its matched pairs (`lever_effects`): cells that differ in that factor alone. One pair may be
-- chance; many pairs in the same direction are not. Pairs of models count too: ask for those that you mean (dense against
-- MoE) by their names.
--
-- lever: the factor, as a path
-- value_a: its value in the first cell of each pair
-- value_b: its value in the second
-- boundary: what the energy contains
-- fidelity: how the energy arises
-- pairs: matched pairs
-- ratio: J per output token of b over that of a, geometric mean over pairs
-- ratio_lowest: lowest ratio of a pair
-- ratio_highest: highest ratio of a pair
-- pairs_lower: pairs in which b takes significantly less (p under 5 %, each by itself)
-- pairs_higher: pairs in which b takes significantly more
CREATE VIEW lever_summary AS
SELECT
  lever,
  value_a,
  value_b,
  boundary,
  fidelity,
  count(*) AS pairs,
  exp(avg(ln(ratio))) AS ratio,
  min(ratio) AS ratio_lowest,
  max(ratio) AS ratio_highest,
  count(*) FILTER (p < 0.05 AND ratio < 1) AS pairs_lower,
  count(*) FILTER (p < 0.05 AND ratio > 1) AS pairs_higher
FROM lever_effects
GROUP BY lever, value_a, value_b, boundary, fidelity;
