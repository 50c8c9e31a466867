"""The documentation as a site: what stands in Markdown, the docstrings, and the notebooks, executed.

    sphinx-build -W --keep-going -c docs . docs/_build/html

The source directory is the top of the repository, so that a link means the same here and wherever the files are read:
the address of a page is its path. Needs the package, ``pip install ".[all]"``, and the dependency group ``docs``.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import sysconfig
from pathlib import Path

from jupyter_client import KernelManager

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
# notebooks call `cvcache`, and mermaidx draws: the ones installed beside this Python, also if it is not activated
os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])

project = "cvcache"
author = "cvcache developers"
copyright = author  # noqa: A001 - Sphinx calls it so
version = release = importlib.metadata.version("cvcache")

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinxcontrib.mermaid",
    "contents",
    "inside_links",
    "linked_names",
]

# -- pages -----------------------------------------------------------------------------------------------------------

root_doc = "README"
include_patterns = ["*.md", "docs/**", "notebooks/*"]
exclude_patterns = ["docs/_build", "docs/_static", "**/.ipynb_checkpoints"]
# below the other READMEs is what their lists name: see _ext/contents.py
sections = [
    "Tutorial <docs/tutorial/first-pipeline>",
    "How to <docs/how-to/README>",
    "Notebooks <notebooks/README>",
    "Reference <docs/reference/README>",
    "Explanation <docs/explanation/README>",
    "All pages <docs/README>",
    *sorted(page.stem for page in HERE.parent.glob("*.md") if page.stem != "README"),
]

# -- Markdown --------------------------------------------------------------------------------------------------------

myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

# drawn here and not by the reader's browser, which would fetch a script from elsewhere
mermaid_output_format = "svg"
mermaid_cmd = "mermaidx"
mermaid_params = ["--background", "white"]

# -- notebooks: executed from top to bottom in empty folders; one that fails or complains ends the build --------------

nb_execution_mode = "auto"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_output_stderr = "warn"
# a kernel listens on local ports, and warns where what it hears is not encrypted
KernelManager.transport_encryption.default_value = "auto"

# -- docstrings ------------------------------------------------------------------------------------------------------

default_role = "py:obj"
add_module_names = False
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False

# -- looks -----------------------------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "cvcache"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "header_links_before_dropdown": 5,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {alone: [] for alone in ("*", "docs/README", "docs/tutorial/*")}
copybutton_exclude = ".linenos, .gp, .go"
