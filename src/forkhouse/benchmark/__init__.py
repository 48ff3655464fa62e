"""Measure serving under load, and compare two measurements.

The load comes from aiperf, in an environment of its own (`generator`, `load`). `run` measures an
endpoint, or the stack that it starts in each of its shapes; `environment` says on what. `results`
is the JSON in which all of it is kept, `compare` sets two of them against each other, and `page`
draws either as one HTML file.
"""
