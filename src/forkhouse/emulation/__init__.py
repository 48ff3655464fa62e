"""Runs the machine code of a gfx90a kernel on a CPU, by a model of the instruction set."""
