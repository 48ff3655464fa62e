"""Apply a patch series to a source tree: in memory, strictly, each patch a commit, each effect checked."""
