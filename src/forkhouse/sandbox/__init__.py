"""Where build commands run.

A sandbox made by bubblewrap, which takes away all of the machine but what a build has to see.
"""
