"""What LaTeX and Markdown would read as their own is escaped."""

from __future__ import annotations

import pytest

from tlfw.report.documents.markup import LATEX, MARKDOWN, latex, md


@pytest.mark.parametrize(
    ("text", "set_"),
    [
        ("50 % & more_#1 $x$", r"50 \% \& more\_\#1 \$x\$"),
        ("{a} \\b", r"\{a\} \textbackslash{}b"),
        ("a^b~c", r"a\textasciicircum{}b\textasciitilde{}c"),
        ("<script>|", r"\textless{}script\textgreater{}\textbar{}"),
        ('"x"\n\x07Größe', "''x'' Größe"),
        ("−3", "$-$3"),
        ("[a]*", "{[}a]{*}"),
    ],
)
def test_latex_is_escaped(text: str, set_: str) -> None:
    assert latex(text) == set_


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a_b*c|d", r"a\_b\*c\|d"), ("<b>&\n`x` [y](z)", r"&lt;b&gt;&amp; \`x\` \[y\](z)"), ("\\|", r"\\\|")],
)
def test_markdown_is_escaped(text: str, shown: str) -> None:
    assert md(text) == shown


def test_bold_is_written_in_the_language() -> None:
    assert (MARKDOWN.bold("a"), LATEX.bold("a")) == ("**a**", r"\textbf{a}")
