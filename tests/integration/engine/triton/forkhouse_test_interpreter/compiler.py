"""What Triton asks of a back end's compiler. Whoever compiles with it is told to interpret."""

from __future__ import annotations

from typing import Any, NoReturn

from triton.backends.compiler import BaseBackend


def _refuse() -> NoReturn:
    message = "This back end compiles nothing: set TRITON_INTERPRET=1, and kernels are interpreted."
    raise RuntimeError(message)


class Nothing(BaseBackend):
    """A compiler that refuses."""

    @staticmethod
    def supports_target(target: Any) -> bool:
        """Say that a target is this one."""
        return bool(target.backend == "cpu")

    def hash(self) -> str:
        """Refuse: there is no compiler to tell from others."""
        _refuse()

    def parse_options(self, _options: dict[str, Any]) -> object:
        """Refuse."""
        _refuse()

    def add_stages(self, _stages: dict[str, Any], _options: object, _language: Any) -> None:
        """Refuse."""
        _refuse()

    def load_dialects(self, _context: Any) -> None:
        """Refuse."""
        _refuse()

    def get_module_map(self) -> dict[str, Any]:
        """Refuse."""
        _refuse()
