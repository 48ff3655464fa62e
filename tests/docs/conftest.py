"""The generators of the site are programs of the checkout, not of the package: the tests find them
from the checkout's root.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
