"""The sampler: a process of its own that reads every meter at a fixed pace."""
