"""Refuses a Python that is too old, in one plain sentence.

Imported before anything else of the package, so it must be readable by Pythons that the rest
is not readable by; so must `__init__`, whose first import it is.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    text = "microthreads needs Python 3.11 or newer; this is {}.{}".format(*sys.version_info)
    if sys.argv[:1] == ["-m"]:  # python3 -m microthreads, which is looking for it
        sys.exit(text)
    raise ImportError(text)
