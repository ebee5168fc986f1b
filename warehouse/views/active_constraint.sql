-- Which ceiling a trial ran into. A ceiling binds from 80 % of it on: of several the highest. KV capacity binds only where
-- requests were put back or waited. Where none binds and the engine's queue was empty, the offered load did. `unknown`
-- where the evidence for compute or memory bandwidth is missing and no other ceiling is proven.
--
-- trial: trial
-- cell: cell
-- active: `compute`, `memory_bandwidth`, `kv_capacity`, `power_cap`, `thermal`, `host`, `offered_load` or `unknown`
-- utilisation: how far the ceiling is used, 0 to 1; NULL for offered load and unknown
-- next: the ceiling after it
-- margin: how much less that one is used
-- evidence: what was known of each ceiling, with its utilisation
CREATE VIEW active_constraint AS
WITH ceilings AS (
  SELECT
    *,
    list_reverse_sort(list_filter(
      [
        {used: compute::DOUBLE, name: 'compute'},
        {used: memory_bandwidth::DOUBLE, name: 'memory_bandwidth'},
        {used: CASE WHEN preemptions > 0 OR waiting >= 0.5 THEN kv_capacity END::DOUBLE, name: 'kv_capacity'},
        {used: power_cap::DOUBLE, name: 'power_cap'},
        {used: thermal::DOUBLE, name: 'thermal'},
        {used: host::DOUBLE, name: 'host'}
      ],
      lambda c: c.used IS NOT NULL
    )) AS known
  FROM constraint_evidence
),
judged AS (
  SELECT
    *,
    CASE
      WHEN known[1].used >= 0.8 THEN known[1].name
      WHEN compute IS NULL OR memory_bandwidth IS NULL THEN 'unknown'
      WHEN waiting < 0.5 THEN 'offered_load'
      ELSE 'unknown'
    END AS active
  FROM ceilings
)
SELECT
  j.trial,
  t.cell,
  j.active,
  CASE WHEN j.active = j.known[1].name THEN j.known[1].used END AS utilisation,
  CASE WHEN j.active = j.known[1].name THEN j.known[2].name ELSE j.known[1].name END AS next,
  CASE WHEN j.active = j.known[1].name THEN j.known[1].used - j.known[2].used END AS margin,
  j.known AS evidence
FROM judged AS j
JOIN trials AS t ON t.trial = j.trial;
