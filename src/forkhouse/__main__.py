"""`python -m forkhouse`, and the command `forkhouse`."""

import os

from forkhouse.core.signals import Stopped, listen


def main() -> None:
    """Run the command line, which listens to signals from before it is loaded."""
    listen()
    try:
        from forkhouse.cli.main import main as run  # that takes a while

        run()
    except Stopped as stopped:
        os._exit(stopped.exit_code)


if __name__ == "__main__":
    main()
