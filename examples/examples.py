"""What a program that is started by its path finds as `examples`: Python looks beside it.

It has the package found in its place, one folder up, and the library beside that. So
`python3 examples/e02_countdown.py` runs from anywhere, and with nothing installed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
del sys.modules["examples"]

import examples  # noqa: E402, F401
