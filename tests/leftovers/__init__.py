"""What is left: the kernel keeps nothing alive that nobody can reach.

    python3 -m tests.leftovers                      every call, every way to end; half a minute
    python3 -m tests.leftovers --only "Channel"     the calls with that in their name

A task holds things: a local, the value that it sends, the result, the argument of its
error. When it has ended, and the program has let go of them, all must be gone at once, by
reference counts alone: here the garbage collector is off. A row of the table is a call that
tasks wait in, a column is a way to end. A cell says how many of the things are still there,
for a task that is a generator and for one that is a coroutine; all should be 0. The kernel
goes on meanwhile, with a task that sleeps for an hour, so that no timer is dropped by
chance; and what the call was made on, a channel or a lock, is still in use.

What a frame of the program's own holds does not count: as in plain Python, an error refers to
the frames it went through, and these to all their locals. So the programs here `del task`.

    held.py       things that can be watched going away
    row.py        what a row of the table is
    victims.py    the task that holds things and ends, in both forms
    ways.py       the columns: how it ends
    table.py      all rows; cells, and how they are counted
    *_rows.py     the rows: calls, blocks, queues, locks, outside, whole kernels

Read next: row.py, victims.py, ways.py.
"""
