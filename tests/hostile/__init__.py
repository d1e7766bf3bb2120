"""A campaign of hostile values: no task's doing stops the kernel, or harms an innocent task.

A *trial* is one program on a virtual clock. Innocent tasks sleep, send and receive, take
locks, select and work in a group; beside them a hostile task uses one public call with one
hostile thing. When it is over,

    run()        has returned, and not hung
    innocents    have done exactly all of their work, and none was cancelled
    the hostile  has ended, at the latest when it was cancelled

What is hostile is told by area, one module each:

    numbers      numbers of all types, and what is none, where a number goes
    errors       odd exceptions, raised in tasks and by functions that the library calls
    calls        system calls of the program's own that fail
    routines     generators and coroutines of the program's own classes that fail
    values       odd values that are sent, returned, or used as reasons
    names        the same as names, and reports that show them
    depths       plain calls near the recursion limit
    moments      plain calls at the n-th call of a function of the library
    alarms       signal handlers that raise
    collector    plain calls from finalizers that the garbage collector runs

``python3 -m tests.hostile`` runs all of it and prints a table, by call and by kind of thing.

Read next: trial.py, innocents.py, and numbers.py, which is the simplest area.
"""
