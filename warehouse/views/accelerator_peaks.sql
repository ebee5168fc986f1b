-- What accelerators can do at most, from their makers' data sheets: dense (no sparsity), at the number format that the
-- matrix units multiply in, and the bandwidth of the memory. NVIDIA data sheets: A100 (2021), L4 and L40S (2023), H100
-- (2023), H200 (2024), B200 as in HGX (2024); figures given there with sparsity are halved.
--
-- accelerator: accelerator as Ray labels it
-- format: number format that is multiplied: `bf16`, `fp8`, `int8` or `fp4`
-- peak_flops: floating-point or integer operations a second, a multiply-add being two [1/s]
-- memory_bytes_per_s: memory bandwidth [B/s]
CREATE VIEW accelerator_peaks AS
FROM (
  VALUES
    ('A100', 'bf16', 312e12, 2.039e12),
    ('A100', 'int8', 624e12, 2.039e12),
    ('L4', 'bf16', 121e12, 0.300e12),
    ('L4', 'fp8', 242.5e12, 0.300e12),
    ('L4', 'int8', 242.5e12, 0.300e12),
    ('L40S', 'bf16', 362.05e12, 0.864e12),
    ('L40S', 'fp8', 733e12, 0.864e12),
    ('L40S', 'int8', 733e12, 0.864e12),
    ('H100', 'bf16', 989.4e12, 3.35e12),
    ('H100', 'fp8', 1978.9e12, 3.35e12),
    ('H100', 'int8', 1978.9e12, 3.35e12),
    ('H200', 'bf16', 989.4e12, 4.8e12),
    ('H200', 'fp8', 1978.9e12, 4.8e12),
    ('H200', 'int8', 1978.9e12, 4.8e12),
    ('B200', 'bf16', 2250e12, 8e12),
    ('B200', 'fp8', 4500e12, 8e12),
    ('B200', 'int8', 4500e12, 8e12),
    ('B200', 'fp4', 9000e12, 8e12)
) AS peaks (accelerator, format, peak_flops, memory_bytes_per_s);
