"""Traces on local disk until they are sealed: an Arrow IPC stream now, sorted Parquet in the warehouse later."""
