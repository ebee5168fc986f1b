"""What is kept and how it is asked: record schemas, Parquet store, build step, SQL views, statistics."""
