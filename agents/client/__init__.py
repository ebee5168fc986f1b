"""The load client: a process of its own that asks, reads token by token, and proves that it was not the limit."""
