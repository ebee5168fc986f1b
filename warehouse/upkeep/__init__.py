"""Looking after a warehouse that grows: compaction of small files, and dropping of old traces."""
