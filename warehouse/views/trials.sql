-- One row per trial that has a manifest, with its factors as columns. Duplicates (the same trial run by two clusters)
-- are left out; they stay in the table `manifests`.
--
-- sweep: sweep that ran it
-- trial: name of the trial, also the stem of its files
-- cell: cell; the hash of its factors
-- deployment: deployment; the part of the factors that decides how the engine starts
-- start: number of the engine start
-- repeat: number of the repeat within the start
-- attempt: number of the attempt, 0 for the first
-- planned_repeats: repeats per start, as planned
-- planned_starts: engine starts, as planned
-- nodes: nodes of the trial, sorted
-- devices: GPUs of all its nodes; 0 where the engine runs on the CPU
-- on_cpu: whether the engine runs on the CPU
-- model: model
-- revision: revision of its weights: as asked for, else the commit that was found on the node
-- licence: licence of its weights: the catalogue's, else what the model card on the node says
-- weights_digest: digest of the files that were loaded: begins, ends and sizes
-- weights: `real`, `generated` or `dummy`
-- architecture: `dense` or `moe`
-- total_params: parameters
-- active_params: parameters that work on one token
-- quantization: precision of the weights
-- kv_type: type of the KV cache
-- engine: engine
-- engine_version: its exact version
-- engine_args: JSON: its extra arguments
-- accelerator: accelerator as found on the first node
-- asked_accelerator: accelerator as the sweep asked for it
-- tensor: tensor-parallel degree
-- pipeline: pipeline stages
-- data_parallel: data-parallel replicas
-- expert: whether experts are spread over devices
-- spanned_nodes: nodes that one deployment is spread over
-- power_limit_w: power limit that was asked for [W]
-- concurrency: requests in flight; NULL in an open loop
-- input_tokens: prompt length asked for; NULL where lengths differ
-- output_tokens: answer length asked for; NULL where lengths differ
-- input_lengths: prompt length asked for: tokens, or JSON of the distribution
-- output_lengths: answer length asked for: tokens, or JSON of the distribution
-- arrivals: how requests arrive: `closed`, or the process of an open loop
-- rate_per_s: rate asked for [1/s]; NULL in a closed loop and where a schedule, a trace or the load decides
-- burstiness: shape of the gamma distribution of the gaps; NULL where it is none
-- load_fraction: load as a share of the highest sustained throughput; NULL where it was not asked so
-- task: what each request asks, in words: lengths, shared prefixes, conversations; cells with the same task are comparable
-- load: how hard, in words: concurrency, or process and rate
-- workload: JSON: all that was asked of the engine
-- seed: seed of the traffic
-- request: JSON: extra request parameters
-- warmup_s: warm-up asked for [s]
-- asked_window_s: window asked for [s]
-- window_s: window as measured, on the first node [s]
-- window_start_at: start of the window on the first node's clock
-- window_end_at: end of the window on the first node's clock
-- outcome: `done` or `failed`
-- failure_class: why it failed
-- error: the error in words
-- reasons: what speaks against the trial as the agents saw it; see `trial_results` for all reasons
-- engine_start: id of the engine start; its log is logs/<id>.log
-- ready_s: time from the engine's start until it was ready [s]
-- loaded_idle_cpus: logical CPUs that the engine kept busy with no requests; of the first node
-- in_flight_fraction: requests in flight in the window, as a share of the target
-- client_lag_p99_ms: event-loop lag of the load client, 99th percentile [ms]
-- client_cpu_fraction: CPU use of the load client, as a share of one core; of its busiest process where there are several
-- client_processes: processes of the load client
-- client: where the load client was to run: `beside` the engine on its node, or `apart` from it
-- client_node: node of a load client that ran apart; NULL where it ran on the engine's
-- client_clock_ms: how far that node's clock may be off against the engine's [ms]
-- rate_achieved_per_s: requests sent in the window / its length [1/s]
-- highest_rate_per_s: highest sustained throughput that was found, of which the load is a fraction [1/s]
-- backlog_max: most requests that were due and not sent
-- started_at: start of the trial
-- ended_at: end of the trial
-- simulated: whether engine or meter was the simulator
CREATE VIEW trials AS
WITH first_part AS (
  SELECT
    *,
    coalesce(list_filter(nodes, lambda n: n.window IS NOT NULL)[1], nodes[1]) AS part,
    factors::JSON AS f
  FROM manifests
  WHERE duplicate_of IS NULL
)
SELECT
  sweep,
  trial,
  cell,
  deployment,
  start,
  repeat,
  attempt,
  planned_repeats,
  planned_starts,
  list_sort(list_transform(nodes, lambda n: n.node)) AS nodes,
  coalesce(list_sum(list_transform(nodes, lambda n: CASE WHEN n.devices = ['cpu'] THEN 0 ELSE len(n.devices) END)), 0)
    ::INTEGER AS devices,
  coalesce(part.devices = ['cpu'], f ->> '$.accelerator' = 'cpu') AS on_cpu,
  f ->> '$.model.name' AS model,
  coalesce(f ->> '$.model.revision', engine::JSON ->> '$.weights.commit') AS revision,
  coalesce(model::JSON ->> '$.licence', engine::JSON ->> '$.weights.licence') AS licence,
  engine::JSON ->> '$.weights.digest' AS weights_digest,
  f ->> '$.model.weights' AS weights,
  model::JSON ->> '$.architecture' AS architecture,
  try_cast(model::JSON ->> '$.total_params' AS BIGINT) AS total_params,
  try_cast(model::JSON ->> '$.active_params' AS BIGINT) AS active_params,
  f ->> '$.quantization' AS quantization,
  f ->> '$.kv_type' AS kv_type,
  f ->> '$.engine.name' AS engine,
  f ->> '$.engine.version' AS engine_version,
  f -> '$.engine.args' AS engine_args,
  coalesce(part.accelerator, f ->> '$.accelerator') AS accelerator,
  f ->> '$.accelerator' AS asked_accelerator,
  try_cast(f ->> '$.parallel.tensor' AS INTEGER) AS tensor,
  try_cast(f ->> '$.parallel.pipeline' AS INTEGER) AS pipeline,
  try_cast(f ->> '$.parallel.data' AS INTEGER) AS data_parallel,
  try_cast(f ->> '$.parallel.expert' AS BOOLEAN) AS expert,
  CASE WHEN (f -> '$.parallel') IS NOT NULL THEN coalesce(try_cast(f ->> '$.parallel.nodes' AS INTEGER), 1) END AS spanned_nodes,
  try_cast(f ->> '$.power_limit_w' AS INTEGER) AS power_limit_w,
  try_cast(f ->> '$.workload.concurrency' AS INTEGER) AS concurrency,
  try_cast(f ->> '$.workload.input_tokens' AS INTEGER) AS input_tokens,
  try_cast(f ->> '$.workload.output_tokens' AS INTEGER) AS output_tokens,
  f ->> '$.workload.input_tokens' AS input_lengths,
  f ->> '$.workload.output_tokens' AS output_lengths,
  coalesce(f ->> '$.workload.arrivals.process', f ->> '$.workload.arrivals') AS arrivals,
  try_cast(f ->> '$.workload.arrivals.rate_per_s' AS DOUBLE) AS rate_per_s,
  try_cast(f ->> '$.workload.arrivals.burstiness' AS DOUBLE) AS burstiness,
  try_cast(f ->> '$.workload.load.fraction' AS DOUBLE) AS load_fraction,
  coalesce(length_in_words(f -> '$.workload.input_tokens'), 'prompts') || ' in, '
    || coalesce(length_in_words(f -> '$.workload.output_tokens'), 'answers') || ' out'
    || coalesce(', prefix of ' || (f ->> '$.workload.prefix.tokens') || ' in '
      || coalesce(f ->> '$.workload.prefix.groups', '1') || ' groups', '')
    || coalesce(', ' || (f ->> '$.workload.conversation.turns') || ' turns', '')
    || coalesce(', own prompts ' || left(f ->> '$.workload.prompts', 8), '')
    || coalesce(', texts by ' || left(f ->> '$.workload.tokenizer', 8), '')
    || coalesce(', stop ' || (f ->> '$.workload.stop'), '') AS task,
  CASE
    WHEN f ->> '$.workload.concurrency' IS NOT NULL THEN 'concurrency ' || (f ->> '$.workload.concurrency')
    ELSE coalesce(f ->> '$.workload.arrivals.process', f ->> '$.workload.arrivals', 'open loop')
      || coalesce(' ' || (f ->> '$.workload.arrivals.rate_per_s') || '/s', '')
      || coalesce(' burstiness ' || (f ->> '$.workload.arrivals.burstiness'), '')
      || coalesce(' stretches ' || (f ->> '$.workload.arrivals.stretches'), '')
      || coalesce(' ' || left(f ->> '$.workload.arrivals.trace.table', 8), '')
      || coalesce(' speed ' || (f ->> '$.workload.arrivals.trace.speed'), '')
      || coalesce(' at ' || (f ->> '$.workload.load.fraction') || ' of the highest', '')
      || coalesce(' p' || (f ->> '$.workload.load.percentile'), '')
  END AS load,
  f -> '$.workload' AS workload,
  try_cast(f ->> '$.workload.seed' AS BIGINT) AS seed,
  f -> '$.workload.request' AS request,
  try_cast(f ->> '$.window.warmup_s' AS DOUBLE) AS warmup_s,
  try_cast(f ->> '$.window.window_s' AS DOUBLE) AS asked_window_s,
  (part.window.end_us - part.window.start_us) / 1e6 AS window_s,
  make_timestamptz(part.window.start_us) AS window_start_at,
  make_timestamptz(part.window.end_us) AS window_end_at,
  outcome,
  failure_class,
  error,
  reasons,
  engine::JSON ->> '$.start_id' AS engine_start,
  try_cast(engine::JSON ->> '$.ready_s' AS DOUBLE) AS ready_s,
  part.loaded_idle_cpus AS loaded_idle_cpus,
  client.in_flight_fraction AS in_flight_fraction,
  client.lag_p99_us / 1e3 AS client_lag_p99_ms,
  client.cpu_fraction AS client_cpu_fraction,
  client.processes AS client_processes,
  CASE WHEN (f -> '$.window') IS NOT NULL THEN coalesce(f ->> '$.window.client', 'beside') END AS client,
  client.apart.node AS client_node,
  client.apart.clock_us / 1e3 AS client_clock_ms,
  client.rate_achieved_per_s AS rate_achieved_per_s,
  client.highest_rate_per_s AS highest_rate_per_s,
  client.backlog_max AS backlog_max,
  make_timestamptz(started_us) AS started_at,
  make_timestamptz(ended_us) AS ended_at,
  simulated
FROM first_part;
