-- The Token Production Function of each cell, per accelerator: the token rate is at most the smaller of K / c (peak
-- operations over operations per output token) and P / (PUE x e(u)) (facility power per accelerator over the energy of a
-- token at utilisation u, as in `utilisation_adjusted`). Says which side binds; `unknown` where a side is not known. A
-- cell on the CPU counts its nodes as accelerators.
-- Macro: token_production(power_w, cooling_w, pue, u)
-- Example: FROM token_production(1000, 900, 1.3, 0.6)
--
-- cell: cell
-- boundary: boundary whose energy is used; `node` is the one that a site pays for
-- fidelity: how the energy arises
-- compute_cap_tokens_per_s: peak operations / operations per output token, per accelerator [tokens/s]
-- j_per_output_token: energy per output token at the utilisation [J/token]
-- energy_cap_tokens_per_s: the smaller of power and cooling / (PUE x energy per token), per accelerator [tokens/s]
-- cap_tokens_per_s: the smaller of both [tokens/s]
-- binding: `compute`, `energy` or `unknown`
-- margin: how many times as high the other side is; NULL where one is not known
-- measured_tokens_per_s: measured output rate per accelerator [tokens/s]
-- of_cap: measured rate / cap
CREATE MACRO token_production(power_w, cooling_w, pue, u) AS TABLE
WITH sides AS (
  SELECT
    a.cell,
    a.boundary,
    a.fidelity,
    c.compute_cap_tokens_per_s,
    a.j_per_output_token,
    least(power_w, cooling_w)
      / nullif(CASE WHEN a.boundary = 'facility' THEN 1 ELSE pue END * a.j_per_output_token, 0) AS energy_cap_tokens_per_s,
    r.output_tokens_per_s / greatest(r.devices, 1) AS measured_tokens_per_s
  FROM utilisation_adjusted(u) AS a
  JOIN cell_results AS r ON r.cell = a.cell AND r.boundary = a.boundary AND r.fidelity = a.fidelity
  LEFT JOIN cell_compute AS c ON c.cell = a.cell
),
capped AS (
  SELECT
    *,
    CASE WHEN compute_cap_tokens_per_s IS NOT NULL AND energy_cap_tokens_per_s IS NOT NULL
      THEN least(compute_cap_tokens_per_s, energy_cap_tokens_per_s) END AS cap_tokens_per_s
  FROM sides
)
SELECT
  cell,
  boundary,
  fidelity,
  compute_cap_tokens_per_s,
  j_per_output_token,
  energy_cap_tokens_per_s,
  cap_tokens_per_s,
  CASE
    WHEN cap_tokens_per_s IS NULL THEN 'unknown'
    WHEN compute_cap_tokens_per_s < energy_cap_tokens_per_s THEN 'compute'
    ELSE 'energy'
  END AS binding,
  greatest(compute_cap_tokens_per_s, energy_cap_tokens_per_s) / cap_tokens_per_s AS margin,
  measured_tokens_per_s,
  measured_tokens_per_s / cap_tokens_per_s AS of_cap
FROM capped;
