"""From a pinned upstream to a git tree.

Choose the form that can be had, fetch it, verify it, import it.
"""
