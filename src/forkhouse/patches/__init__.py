"""Apply a patch series to a source tree.

In memory, strictly, each patch a commit, each effect checked.
"""
