"""Everything that happens on a node: meters, sampler, engine processes, load client, trace writer."""
