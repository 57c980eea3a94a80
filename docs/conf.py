"""How Sphinx builds these pages: `make docs`. Nothing here needs a network."""

from __future__ import annotations

import tlfw

project = "tlfw"
author = "the tlfw contributors"
copyright = author
release = version = tlfw.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"tlfw {version}"

# Pages are Markdown. Every heading down to the third level can be linked to, as on GitHub.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# API pages come from docstrings in Google's convention, in the order of the source.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
maximum_signature_line_length = 80  # one argument a line beyond it
python_use_unqualified_type_names = True
default_role = "code"  # docstrings write `name` where reStructuredText would write ``name``
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# `-n` checks every reference, `-W` makes each warning an error; links and anchors of pages are among them. Types in
# signatures are left out: those of other libraries would need their inventories, which come over the network.
nitpick_ignore_regex = [("py:(class|exc)", ".*")]
linkcheck_timeout = 20
