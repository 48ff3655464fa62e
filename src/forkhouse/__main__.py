"""`python -m forkhouse`."""

from forkhouse.cli.main import main

main()
