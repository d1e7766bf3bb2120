"""``python3 -m microthreads``: see cli.py."""

import sys

from microthreads.cli import main

sys.exit(main())
