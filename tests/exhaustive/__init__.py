"""Every primitive against a model of it, under every schedule of every small program.

A *program* is one sequence of operations for each task. Of two tasks with three
operations each all programs are taken, and each is run under all schedules; of three
tasks, a sample. ``python3 -m tests.exhaustive`` runs all of it and prints how many
programs and schedules that were; ``python3 -m tests.exhaustive Lock Event`` runs some.

The *model* of a primitive says the same as its documentation, written a second time as
a plain state machine: who holds what, who waits in which order, what is due when. It
uses nothing of the library. Since code between two yields is atomic, it can be stepped
in lock-step with the library, along whatever schedule the explorer takes:

    before a yield          it is told which call the task makes
    when a task goes on     the task must be one that it says can go on, with the result
                            that it says; those who are ready must be ready in its order
    when nothing goes on    the tasks that wait must be those that it says wait, and the
                            state of the primitive must be the state that it says

It is exact: there is nothing that the library may do in two ways.

What is left out: of two programs of two tasks that differ only by which task is called
the first, one is run, since the tasks are interchangeable. Nothing else is.

Read next: programs.py, models.py and one kind of model, trials.py, primitives.py.
"""
