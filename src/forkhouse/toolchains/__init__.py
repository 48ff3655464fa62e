"""Find what a build needs on this machine, name what is missing, and identify what was found."""
