"""joulemark: what a token costs, in joules and in dollars."""

__version__ = "0.1.0"
