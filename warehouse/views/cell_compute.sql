-- What one output token of a cell takes in operations, and what its accelerator can do: the compute side of the Token
-- Production Function. FLOPs of one pass for one token: 2 per weight that takes part in a product, and 2 x attention
-- width x context (Kaplan et al. 2020; Chowdhery et al. 2022), at half of the context on average; prompts that were not
-- in the engine's cache count for the answers that they are for. NULL where the model's shape or the peak is not known.
--
-- cell: cell
-- format: number format that the matrix units multiply in for these weights
-- peak_flops: what one accelerator can do in it [1/s]
-- flops_per_output_token: operations per output token, prompts included [1/token]
-- compute_cap_tokens_per_s: peak / operations: output tokens per second of one accelerator at most [tokens/s]
CREATE VIEW cell_compute AS
WITH shapes AS (
  SELECT
    t.cell,
    any_value(t.accelerator) AS accelerator,
    any_value(CASE
      WHEN t.quantization = 'fp8' THEN 'fp8'
      WHEN t.quantization = 'int8-w8a8' THEN 'int8'
      WHEN t.quantization = 'nvfp4' THEN 'fp4'
      ELSE 'bf16'
    END) AS format,
    any_value(2.0 * (
      try_cast(m.model::JSON ->> '$.active_params' AS DOUBLE)
      - CASE WHEN (m.model::JSON ->> '$.tied_embeddings') = 'true' THEN 0
        ELSE try_cast(m.model::JSON ->> '$.embedding_params' AS DOUBLE) END
    )) AS weight_flops,
    any_value(2.0 * try_cast(m.model::JSON ->> '$.attention_width' AS DOUBLE)
      * try_cast(m.model::JSON ->> '$.layers' AS DOUBLE)) AS attention_flops,
    sum(k.input_tokens - coalesce(k.cached_tokens, 0)) / nullif(sum(k.output_tokens), 0) AS prompts_per_token,
    sum(k.input_tokens + k.output_tokens) / nullif(sum(k.requests_completed), 0) / 2 AS mean_context
  FROM trials AS t
  JOIN manifests AS m ON m.trial = t.trial AND m.duplicate_of IS NULL
  JOIN trial_tokens AS k ON k.trial = t.trial
  WHERE t.outcome = 'done'
  GROUP BY t.cell
),
counted AS (
  SELECT *, (weight_flops + attention_flops * mean_context) * (1 + prompts_per_token) AS flops
  FROM shapes
)
SELECT
  c.cell,
  c.format,
  p.peak_flops,
  c.flops AS flops_per_output_token,
  p.peak_flops / nullif(c.flops, 0) AS compute_cap_tokens_per_s
FROM counted AS c
LEFT JOIN accelerator_peaks AS p ON p.accelerator = c.accelerator AND p.format = c.format;
