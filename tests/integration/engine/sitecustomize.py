"""Hide packages from an interpreter, as where they are not installed: those in FORKHOUSE_TEST_HIDDEN, with commas between."""

import os
import sys
from importlib.abc import MetaPathFinder


class _Hider(MetaPathFinder):
    """Says, before anybody is asked, that there is no such package."""

    def find_spec(self, fullname: str, *_: object) -> None:
        """Raise ModuleNotFoundError for a hidden package, leave others to the next finder."""
        if fullname.partition(".")[0] in HIDDEN:
            message = f"No module named {fullname!r}"
            raise ModuleNotFoundError(message, name=fullname)


HIDDEN = set(filter(None, os.environ.get("FORKHOUSE_TEST_HIDDEN", "").split(",")))
if HIDDEN:
    sys.meta_path.insert(0, _Hider())
