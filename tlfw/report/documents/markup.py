"""Text as Markdown and LaTeX set it: what is escaped, and how bold type and the mark of random features are written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

_MARKDOWN = str.maketrans({each: f"\\{each}" for each in "\\`*_[]#|~$"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})

_LATEX = str.maketrans(
    {each: f"\\{each}" for each in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"''",
        "“": "``",
        "”": r"''",
        # at a row's beginning these would be read as arguments of the line break before
        "[": "{[}",
        "*": "{*}",
        "`": r"\textasciigrave{}",
        "−": "$-$",
        "–": "--",
    }
)


def md(text: str) -> str:
    """Text in GitHub's Markdown, also within a table."""
    return " ".join(text.split()).translate(_MARKDOWN)


def latex(text: str) -> str:
    """Text as LaTeX sets it. Letters beyond Latin need an engine and a font that know them (XeLaTeX, LuaLaTeX)."""
    plain = "".join(each for each in " ".join(text.split()) if each.isprintable())
    return plain.translate(_LATEX)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Markup:
    """A language of text.

    Attributes:
        escape: plain text -> the same in this language.
        bold: text in this language -> the same in bold type.
        star: the mark of random features.
    """

    escape: Callable[[str], str]
    bold: Callable[[str], str]
    star: str


MARKDOWN = Markup(escape=md, bold=lambda text: f"**{text}**", star="\\*")
LATEX = Markup(escape=latex, bold=lambda text: rf"\textbf{{{text}}}", star="$^*$")
