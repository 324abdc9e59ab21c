"""Docstrings as Markdown: doctests become code blocks, and the source stands out."""

import re
from typing import Any

import griffe  # pyright: ignore[reportMissingImports]

_ROLE = re.compile(r":(?:func|class|meth|mod|attr|data):(?=`)")
_DOCTEST = re.compile(r"^( *)>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)


def markdown(text: str) -> str:
    r"""Return a docstring with fences around its doctests.

    Without them, Markdown takes ``>>>`` for quotations.

    >>> markdown("Source: a paper.")
    '**Source:** a paper.'
    >>> markdown(">>> 1 + 1\n2")
    '```pycon\n>>> 1 + 1\n2\n```'
    >>> markdown("See :func:`vicreg`.")
    'See `vicreg`.'
    """
    text = _ROLE.sub("", text)
    text = re.sub(r"^Source: ", "**Source:** ", text, flags=re.MULTILINE)
    return _DOCTEST.sub(r"\1```pycon\n\g<0>\n\1```", text)


class Examples(griffe.Extension):
    """Apply `markdown` to every docstring that griffe has read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
