"""The simulated engine and its GPUs: a server that keeps the modelled times, and counters that keep the watts."""
