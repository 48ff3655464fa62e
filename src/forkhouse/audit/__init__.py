"""The last look at a wheel before it enters a wheelhouse.

It fails closed: what cannot be read is refused.
"""
