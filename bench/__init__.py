"""Benchmarks: how the patch engine and the tools that people use today fare on the same inputs.

Not part of the wheel.
"""
