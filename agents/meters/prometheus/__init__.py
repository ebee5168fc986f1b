"""One meter for every exporter of Prometheus metrics; a small table per exporter says what its metrics are."""
