"""A pure model of a serving engine on GPUs: continuous batching, a roofline for time, utilisation for power."""
