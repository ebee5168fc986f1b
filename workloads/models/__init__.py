"""Which models there are, and what follows from their shape: parameters, FLOPs and bytes per token."""
