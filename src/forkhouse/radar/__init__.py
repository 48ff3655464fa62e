"""The drift radar: a patch series against every candidate pin, and the first pin that breaks each patch."""
