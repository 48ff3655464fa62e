"""`python -m forkhouse`."""

from forkhouse.cli import main

main()
