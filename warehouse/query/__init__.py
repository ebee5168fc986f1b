"""How the warehouse is asked: an in-memory DuckDB connection with the views, open to SELECT only."""
