"""Bad clients: what a server must bear from those who are broken, slow, greedy or hostile.

    python3 -m tests.badclients                      every example server, 10,000 inputs each
    python3 -m tests.badclients --server echo-tcp    one of them

While they are at it, a good client must be answered rightly and in time, the server's
memory must stay bounded, and it must say nothing on its standard error. When they are gone
it must have as many descriptors as before, and end at once.

    table.py       the servers, each with its good client and its valid inputs
    campaign.py    what is done to a server, and what must hold
    faults.py      resets, silence, greed, nonsense: connections that go wrong
    fuzzing.py     thousands of inputs made of random bytes and of mutated valid ones
    inputs.py      how these are made, from a seed and a number
    steady.py      those who are there all the while: the good client, and the slow ones
    entry.py       what the table is made of
"""

import sys
from pathlib import Path

TESTS = str(Path(__file__).resolve().parent.parent)
if TESTS not in sys.path:  # pytest has put it there; `python3 -m` has not
    sys.path.insert(0, TESTS)
