"""A back end of Triton's by the name of cpu, which compiles nothing.

vLLM for the CPU takes Triton where it finds one of that name, and Triton's interpreter needs none.
Triton finds this one by its entry point, where this folder's parent is on PYTHONPATH.
"""
