"""The whole flow, from the lock to the wheelhouse, and what the keeper of a port does around it."""
