"""How Sphinx builds this documentation.

From the root of the project::

    python -m sphinx -n -W -b html docs docs/_build/html
"""

import re
import sys
from pathlib import Path

from sphinx.pycode import ModuleAnalyzer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # autodoc reads the code beside these pages, not an installed copy

source = (ROOT / "microthreads" / "__init__.py").read_text(encoding="utf-8")
found = re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE)
if found is None:
    raise RuntimeError("microthreads/__init__.py says no __version__")

project = "microthreads"
author = "the microthreads authors"
project_copyright = author
version = release = found[1]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"microthreads {release}"
html_static_path = ["_static"]
html_css_files = ["figures.css"]
html_copy_source = False
html_show_sourcelink = False
pygments_style = "friendly"
pygments_dark_style = "monokai"

myst_heading_anchors = 3

default_role = "literal"  # docstrings put names between single backticks
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # "Attributes:" as a list of fields, since properties document themselves
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"Routine": "Routine"}  # shorter than what it stands for
python_maximum_signature_line_length = 76

nitpick_ignore = [
    # The protocol that `microthreads.observe.Observer` fulfils, which has the text.
    ("py:class", "microthreads.kernel.kernel.Observer"),
    # Aliases, which the text explains: a generator or coroutine object; a line of code.
    ("py:class", "Routine"),
    ("py:class", "Place"),
    # The same, and what `explore` calls; a child's `restart`. The text says what they are.
    ("py:class", "Program"),
    ("py:class", "Progress"),
    ("py:class", "Restart"),
    # What `parallel_map` returns, of which its text says all.
    ("py:class", "microthreads.groups.parallel.ParallelMap"),
    # The options of a kernel, listed in its own entry.
    ("py:class", "AnyPoller"),
    ("py:class", "KernelOptions"),
    ("py:class", "Policy"),
    ("py:class", "WorldOptions"),
    # What is called with a stream, and with addresses; the text says with what.
    ("py:class", "Handler"),
    ("py:class", "Ready"),
    # A generator that can be awaited, too, as type checkers see it.
    ("py:class", "AwaitableGenerator"),
    ("py:class", "microthreads.spelling.AwaitableGenerator"),
    # concurrent.futures.Future, as Kernel.submit spells it.
    ("py:class", "Future"),
    # traceback.FrameSummary, as Task.stack spells it.
    ("py:class", "FrameSummary"),
    # An alias of Any, and typeshed's names for "bytes-like", imported for checkers only.
    ("py:class", "Address"),
    ("py:class", "ReadableBuffer"),
    ("py:class", "WriteableBuffer"),
]
nitpick_ignore_regex = [
    # Type variables: they have no page of their own.
    (r"py:class", r"(microthreads\..*\.)?([A-FTV]|Ts|T_co|H_co)"),
    # The standard library: linking to it would need a network.
    (
        r"py:(class|exc)",
        r"(collections\.abc|concurrent\.futures|os|socket|ssl|tls|traceback|types)\..*",
    ),
]


def keep_first_sentence(app, what, name, obj, options, lines):
    """Put an empty comment before the text of a property or an attribute.

    Napoleon would read its first line, "Whether it ended: ...", as "type: text".
    """
    if what in {"property", "attribute", "data"}:
        lines[:0] = ["..", ""]


def forget_many_overloads(analyze):
    """Have the analyzer forget overloads of one kind for each number of arguments.

    They are for type checkers; to a reader, `gather(*routines)` says it all.
    """

    def analyze_and_forget(analyzer):
        analyze(analyzer)
        few = {name: each for name, each in analyzer.overloads.items() if len(each) <= 2}
        analyzer.overloads = few

    return analyze_and_forget


ModuleAnalyzer.analyze = forget_many_overloads(ModuleAnalyzer.analyze)


def setup(app):
    app.connect("autodoc-process-docstring", keep_first_sentence, priority=400)
