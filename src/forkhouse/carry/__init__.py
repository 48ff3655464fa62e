"""Carry a wheelhouse to another machine as one file, and read it there."""
