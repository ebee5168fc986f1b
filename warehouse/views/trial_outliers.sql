-- How far each valid trial lies from the others of its cell on the same nodes: the modified z-score of Iglewicz and Hoaglin
-- (1993) on logs, with the spread pooled over all cells of the boundary and fidelity, since a cell has few trials. An outlier
-- is shown, never dropped. Cells with fewer than 3 valid trials on the same nodes are left out.
--
-- trial: trial
-- cell: cell
-- boundary: what the energy contains
-- fidelity: how the energy arises
-- nodes: nodes of the trial
-- j_per_output_token: window energy / output tokens [J/token]
-- cell_median: median of the cell's trials on these nodes [J/token]
-- z: distance from the median in robust standard deviations
-- outlier: whether |z| is over 3.5
CREATE VIEW trial_outliers AS
WITH deviations AS (
  SELECT
    trial,
    cell,
    boundary,
    fidelity,
    nodes,
    j_per_output_token,
    median(j_per_output_token) OVER same AS cell_median,
    ln(j_per_output_token) - median(ln(j_per_output_token)) OVER same AS deviation,
    count(*) OVER same AS trials
  FROM trial_results
  WHERE valid AND j_per_output_token > 0
  WINDOW same AS (PARTITION BY cell, boundary, fidelity, nodes)
),
scaled AS (
  SELECT
    *,
    median(abs(deviation)) OVER (PARTITION BY boundary, fidelity) / 0.6745 AS spread
  FROM deviations
  WHERE trials >= 3
)
SELECT
  trial,
  cell,
  boundary,
  fidelity,
  nodes,
  j_per_output_token,
  cell_median,
  deviation / nullif(spread, 0) AS z,
  abs(deviation) > 3.5 * spread AND spread > 0 AS outlier
FROM scaled;
