"""Serving from a wheelhouse.

The tiny local model, servers and their ends, and what GPUs this machine has.
"""
