"""Apply a patch series to a source tree in memory.

Patches apply strictly, each patch becomes a commit, and each effect is checked.
"""
