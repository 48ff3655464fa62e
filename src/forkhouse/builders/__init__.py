"""From a patched tree to a wheel.

One class a build system behind one protocol, each result cached by all its inputs.
"""
