"""Engines as data and pure functions: command line, what to ask them, how to read their answers."""
