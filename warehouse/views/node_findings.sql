-- What a trial's nodes have in them besides the trial: energy of these is in every boundary that holds more than devices.
--
-- trial: trial
-- client_on_node: whether the load client ran on a node of the trial
-- idle_devices: GPUs of its nodes that the deployment does not hold; NULL where it is not known what a node has
CREATE VIEW node_findings AS
WITH clients AS (
  SELECT DISTINCT trial, node FROM requests
),
equipment AS (
  SELECT node, boot, max(len(devices)) AS gpus FROM nodes GROUP BY node, boot
),
per_node AS (
  SELECT
    n.trial,
    c.node IS NOT NULL AS has_client,
    greatest(0, e.gpus - CASE WHEN n.on_cpu THEN 0 ELSE len(n.devices) END) AS idle_devices
  FROM trial_nodes AS n
  LEFT JOIN clients AS c ON c.trial = n.trial AND c.node = n.node
  LEFT JOIN equipment AS e ON e.node = n.node AND e.boot = n.boot
)
SELECT
  trial,
  bool_or(has_client) AS client_on_node,
  sum(idle_devices)::INTEGER AS idle_devices
FROM per_node
GROUP BY trial;
