"""Serving from a wheelhouse: the tiny local model, servers and their ends, and what GPUs this machine has."""
