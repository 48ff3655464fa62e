"""What the keys of a document mean: the texts below the attributes of its class (PEP 257).

pydantic can read them, too, but then reads the source of every class in every command.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import TYPE_CHECKING

from forkhouse.documents.reading import Document

if TYPE_CHECKING:
    from collections.abc import Iterator


def documents(base: type[Document] = Document) -> Iterator[type[Document]]:
    """Yield the class of every kind of document that was imported."""
    for model in base.__subclasses__():
        yield model
        yield from documents(model)


def meanings(model: type[Document]) -> dict[str, str]:
    """Return the text below each attribute of a document's class, those it inherits included.

    The source of the class must be there (OSError).
    """
    texts = {}
    for base in reversed(model.__mro__[: model.__mro__.index(Document)]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for before, after in pairwise(definition.body):
            match before, after:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    texts[name] = inspect.cleandoc(text)
    return texts
