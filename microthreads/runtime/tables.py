"""The table of tasks as text: a row for each of a few, and of many a row for each group.

A table of up to 30 tasks has a row for each. In one of more, those that do the same
at the same line of the program are one group: in the same state, in a call of one kind, on an
object of one kind. A group has a row that counts it, and three of its tasks below.

The running task is first, since it is most often the culprit; then come the ready ones, then
the parked ones, each by their numbers (DOC: design/tables).

No line is wider than the terminal. What is too wide is cut where it says least: a place at its
beginning, a name at its end, and what a task waits on in its middle, since the owner, mostly
the culprit, stands at its end. The column gives that has most of what it needs.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias
from unicodedata import combining, east_asian_width

from microthreads.errors import kind_of, printable, text_of
from microthreads.kernel import State

if TYPE_CHECKING:
    from microthreads.runtime.snapshots import TaskInfo

FEW = 30  # tasks that get a row each
EXAMPLES = 3  # of a group, and of a circle
MANY_GROUPS = 25
WITHOUT_TERMINAL = 160  # columns: in a file, one long name must not make all rows long
LONGEST = 1_000  # characters of a text that are looked at

ORDER = [State.RUNNING, State.READY, State.PARKED, State.DONE]
HEADINGS = ("TASK", "STATE", "WAITS ON", "AT")
# Columns that each needs (the state is short, and cut last); where owners are to be seen, too.
ENOUGH, WITH_OWNERS = (12, 14, 20, 32), (10, 14, 34, 24)
SHORT = 16  # columns for the least that is shown of a task or an object, if there is any choice
INDENT, GAP = "  ", "  "

OWNED_BY = ", owned by "  # as `Wait` says it

Row: TypeAlias = tuple[str, str, str, str]
Group: TypeAlias = "list[TaskInfo]"


def table(tasks: Sequence[TaskInfo], circle: Sequence[TaskInfo], columns: int) -> str:
    """All that is to be seen of `tasks`, with lines of so many columns at most."""
    groups = groups_of(tasks)
    seen = largest(groups)
    lines = [_summary(tasks)] if len(tasks) > FEW else []
    rows = [HEADINGS, *(row for group in seen for row in _rows_of(group))]
    lines += _aligned(rows, columns - len(INDENT))
    if len(groups) > len(seen):
        more = len(tasks) - sum(map(len, seen))
        lines.append(f"... and {_many(more, 'more task')} in {len(groups) - len(seen):,} groups")
    lines += _circle_lines(circle, columns - len(INDENT))
    return "\n".join(cut(INDENT + line, columns) for line in lines)


def shown_of(tasks: Sequence[TaskInfo], circle: Sequence[TaskInfo]) -> Group:
    """Those whose words the table has."""
    groups = largest(groups_of(tasks))
    return [task for group in groups for task in _examples(group)] + _ends(circle)


# Groups


def groups_of(tasks: Sequence[TaskInfo]) -> list[Group]:
    """The tasks that share a row, in the order in which they are shown; each task of a few."""
    few = len(tasks) <= FEW
    groups: dict[object, Group] = {}
    for task in tasks:
        groups.setdefault(task.id if few else task.alike, []).append(task)
    ranks = {state: rank for rank, state in enumerate(ORDER)}
    return sorted(groups.values(), key=lambda group: ranks[group[0].state])


def largest(groups: list[Group]) -> list[Group]:
    """Those of the groups that there is room for, in their order: what can run, then the most."""
    if len(groups) <= MANY_GROUPS or sum(map(len, groups)) <= FEW:
        return groups
    ordered = sorted(groups, key=lambda group: (group[0].state is State.PARKED, -len(group)))
    kept = {id(group) for group in ordered[:MANY_GROUPS]}
    return [group for group in groups if id(group) in kept]


def _examples(group: Group) -> Group:
    return group if len(group) <= EXAMPLES + 1 else group[:EXAMPLES]


def _rows_of(group: Group) -> list[Row]:
    if len(group) <= EXAMPLES + 1:
        return [(_name(task), task.state.value, task.waits_on or "-", task.place) for task in group]
    first, waits = group[0], _waits_of(group)
    head = (_many(len(group), "task"), first.state.value, waits, first.place)
    # What they have in common is not said again.
    own = [(_name(task), task.waits_on * (task.waits_on != waits)) for task in _examples(group)]
    return [head, *((INDENT + name, "", words, "") for name, words in own)]


def _name(task: TaskInfo) -> str:
    return f"#{task.id} {task.name}{' (daemon)' if task.daemon else ''}"


def _waits_of(group: Group) -> str:
    """What all of a group wait on: an object by its name, if it is the same."""
    first = group[0].wait
    if first is None:
        return "-"
    if all(task.wait is not None and task.wait.on is first.on for task in group):
        return group[0].waits_on
    return f"{text_of(first.kind)} {'...' if type(first.on) is str else kind_of(first.on)}"


def _summary(tasks: Sequence[TaskInfo]) -> str:
    counts = Counter(task.state.value for task in tasks)
    if len(counts) == 1:
        return f"{_many(len(tasks), 'task')}, all {tasks[0].state.value}"
    states = [f"{counts[state.value]:,} {state.value}" for state in ORDER if counts[state.value]]
    return f"{_many(len(tasks), 'task')}: {', '.join(states)}"


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


# The circle


def _ends(circle: Sequence[TaskInfo]) -> Group:
    return list(circle) if len(circle) <= FEW else [*circle[:EXAMPLES], circle[-1]]


def _circle_lines(circle: Sequence[TaskInfo], room: int) -> list[str]:
    if not circle:
        return []
    lines = [_circle_line(task, room) for task in _ends(circle)]
    if left := len(circle) - len(lines):
        lines.insert(-1, f"  ... {left:,} more, each of which waits for the next")
        return [f"the cycle, of {len(circle):,} tasks:", *lines]
    return ["the cycle:", *lines]


def _circle_line(task: TaskInfo, room: int) -> str:
    words, verb = one_line(task.waits_on), " waits to "
    room -= len(INDENT + verb)
    name = cut(one_line(str(task)), max(SHORT, room - width(words)))
    return f"{INDENT}{name}{verb}{cut_within(words, max(0, room - width(name)))}"


# Columns


def columns() -> int:
    """How many columns a line may have: what COLUMNS says, or those of the terminal."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    for descriptor in (2, 1):  # reports go to standard error, mostly
        try:
            found = os.get_terminal_size(descriptor).columns
        except OSError:
            continue  # it is none
        if found:
            return found
    return WITHOUT_TERMINAL


def _aligned(rows: Sequence[Row], room: int) -> list[str]:
    """The rows as lines, their columns as wide as need be, or as can be."""
    shown = [tuple(one_line(cell) for cell in row) for row in rows]
    widths = [max(width(row[column]) for row in shown) for column in range(len(HEADINGS))]
    *needs, much = WITH_OWNERS if any(OWNED_BY in row[2] for row in shown) else ENOUGH
    needs.append(min(much, max(width(os.path.basename(row[-1])) for row in shown)))
    room -= len(GAP) * (len(widths) - 1)
    while sum(widths) > room and max(widths) > 1:
        plenty = [(most > 1, most / need) for most, need in zip(widths, needs, strict=True)]
        widths[plenty.index(max(plenty))] -= 1
    lines = []
    for *cells, place in shown:
        *names, waits = zip(cells, widths, strict=False)
        fitting = [_filled(cut(*cell), cell[1]) for cell in names]
        fitting.append(_filled(cut_within(*waits), waits[1]))
        lines.append(GAP.join([*fitting, cut_place(place, widths[-1])]).rstrip())
    return lines


def one_line(text: str) -> str:
    """One line that a terminal shows as it is."""
    return printable(text if len(text) <= LONGEST else text[:LONGEST] + "…")


def width(text: str) -> int:
    """How many columns a terminal shows `text` in."""
    if text.isascii():
        return len(text)
    return sum(_width(each) for each in text)


def _width(character: str) -> int:
    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def _filled(text: str, most: int) -> str:
    return text + " " * (most - width(text))


def cut(text: str, most: int) -> str:
    """`text` without its end, if it is wider than so many columns."""
    if width(text) <= most:
        return text
    kept, room = 0, most - 1
    for character in text:
        room -= _width(character)
        if room < 0:
            break
        kept += 1
    return text[:kept] + "…" * (most > 0)


def cut_within(text: str, most: int) -> str:
    """What a task waits on, cut before its owner: of that the beginning is seen as well."""
    if width(text) <= most:
        return text
    what, owned_by, owner = text.rpartition(OWNED_BY)
    if not owned_by:
        return cut(text, most)
    owner = cut(owned_by + owner, max(most - SHORT, most * 2 // 3))
    return cut(what, most - width(owner)) + owner


def cut_place(text: str, most: int) -> str:
    """A place without the beginning of its path, or, if need be, without its function's end."""
    short = os.path.basename(text)
    line = short.rpartition(" in ")[0] or short
    if width(line) <= most < width(short):
        return cut(short, most)
    return cut((text if width(line) <= most else line)[::-1], most)[::-1]
