"""Random structural edits of real files, judged by each language's own readers.

`python -m bench.edits`.
"""
