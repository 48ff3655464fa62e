"""The drift radar.

A patch series against every candidate pin, and the first pin that breaks each patch.
"""
