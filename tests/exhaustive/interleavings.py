"""All that can come of a program by its model alone, without library and explorer.

It walks through the tree of schedules by copying the model at each choice, so it has
nothing in common with the explorer, which executes each schedule from the beginning.
What both find must be equal, and so must be how many schedules there are.
"""

from __future__ import annotations

import copy
from typing import Any, TypeAlias

from .models import Model
from .programs import END, Kind, Program, Step
from .trials import Primitive, end_of

State: TypeAlias = tuple[Model, list[int], list[list[Any]]]
"""The model, where each task is, and the outcomes that it has had."""


def outcomes_of_model(primitive: Primitive, program: Program) -> tuple[set[Any], int]:
    """What can come of a program, and under how many schedules."""
    scripts = primitive.scripts(program)
    found: set[Any] = set()
    schedules = 0
    left: list[State] = [(primitive.model(len(program)), [0] * len(program), [[] for _ in program])]
    while left:
        state = left.pop()
        model, _, outcomes = state
        if not model.ready:
            model.pass_time()
        if not model.ready:
            schedules += 1
            found.add(end_of(model, outcomes))
        for task in list(model.ready):
            after = copy.deepcopy(state)
            _go_on(*after, task, scripts[task])
            left.append(after)
    return found, schedules


def _go_on(
    model: Model, places: list[int], outcomes: list[list[Any]], task: int, steps: list[Step]
) -> None:
    """Let a task go on to its next yield."""
    outcome = model.resume(task)
    at = places[task]
    if task in model.fresh:
        model.fresh.discard(task)
    else:
        outcomes[task].append(outcome)
        at = steps[at].after(outcome)
    while at != END and steps[at].kind in (Kind.PLAIN, Kind.CANCEL):
        outcome = getattr(model, steps[at].name)(task, steps[at].item)
        outcomes[task].append(outcome)
        at = steps[at].after(outcome)
    places[task] = at
    if at == END:
        model.end(task)
    else:
        model.make(task, steps[at].name, steps[at].item)
