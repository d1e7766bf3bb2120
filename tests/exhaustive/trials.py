"""Trials: one execution of a program, by the library and by a model in lock-step."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from microthreads import Cancelled, sleep
from microthreads.kernel import running_kernel
from microthreads.sync.waiting import Guard

from .models import GUARD, Model
from .programs import ALWAYS, END, Kind, Names, Operation, Program, Step, compiled

THE_END = 1_000.0  # seconds: later than any time limit, so when nothing else can happen


@dataclass(frozen=True)
class Primitive:
    """What is checked.

    Attributes:
        name: What the table calls it.
        model: Makes its model, for so many tasks.
        make: Makes the library's objects.
        state: What can be seen of these, in the form in which the model has it.
        operations: What its operations are.
        two: The alphabet of the programs of two tasks: names, between commas.
        more: What the alphabet of those of three has besides.
        tasks: Of how many tasks programs are taken.
    """

    name: str
    model: Callable[[int], Model]
    make: Callable[[], Any]
    state: Callable[[Any], Any]
    operations: dict[str, Operation]
    two: str
    more: str
    tasks: tuple[int, ...] = (2, 3)

    def alphabet(self, tasks: int) -> Names:
        """The operations that programs of so many tasks are made of."""
        return tuple(", ".join([self.two, self.more][: tasks - 1]).strip(", ").split(", "))

    def scripts(self, program: Program) -> list[list[Step]]:
        """The steps of each task of `program`."""
        known = self.operations | ALWAYS
        return [
            compiled([known[name] for name in names], task) for task, names in enumerate(program)
        ]


class Mismatch(AssertionError):
    """The library did what the model says it must not."""


class Trial:
    """One execution of a program, by the library and by a model.

    Args:
        primitive: What the program uses.
        scripts: The steps of each task.
        strict: Whether to compare states whenever a task goes on, not only at the end.
        log: Where to write what happens, if anywhere.
    """

    def __init__(
        self,
        primitive: Primitive,
        scripts: Sequence[list[Step]],
        strict: bool = False,
        log: list[str] | None = None,
    ) -> None:
        self.primitive = primitive
        self.scripts = scripts
        self.strict = strict
        self.log = log
        self.model = primitive.model(len(scripts))
        self.things = primitive.make()
        self.outcomes: list[list[Any]] = [[] for _ in scripts]
        self.over = self.failed = False

    def main(self) -> Generator[Any, Any, None]:
        """Start the tasks, and look at what is left when nothing can happen any more."""
        self.kernel: Any = running_kernel()
        start, main = self.kernel.start, self.kernel.current
        # Not by `spawn`: they begin together, and where they began is not worth 4 us a task.
        self.tasks = [
            start(self.task(number, steps), None, True, main, None)
            for number, steps in enumerate(self.scripts)
        ]
        yield sleep(THE_END)
        self.over = True
        self.kernel.policy = None  # what is left to do is clean-up: nothing to choose there
        if not self.failed:
            self.compare_ends()

    def task(self, number: int, steps: list[Step]) -> Generator[Any, Any, None]:
        """What a task does, each step told to the model and compared with what that says."""
        things, model, outcomes, log = self.things, self.model, self.outcomes[number], self.log
        self.goes_on(number, None)
        model.fresh.discard(number)
        at = 0
        while at != END:
            step = steps[at]
            kind, name, act, item, at, _, _ = step
            got: Any
            if kind is Kind.PLAIN or kind is Kind.CANCEL:
                want = getattr(model, name)(number, item)
                try:
                    got = act(things, item) if kind is Kind.PLAIN else self.cancel_next(number)
                except Exception as error:
                    got = type(error)
                if log is not None:
                    log.append(f"task {number}: {name} -> {shown(got)}")
                if got is not want and not same(got, want):
                    self.fail(f"{name} by task {number}", want, got)
            else:
                if log is not None:
                    log.append(f"task {number}: yields {name}")
                model.make(number, name, item)
                try:
                    if kind is Kind.CALL:
                        got = yield act(things, item)
                    else:
                        got = yield from act(things, item)
                except (Exception, Cancelled) as error:
                    got = type(error)
                if self.over:
                    return  # all that are left are cancelled, and the model is not told
                self.goes_on(number, got)
            outcomes.append(got)
            if type(got) is type:
                at = step.after(got)
        model.end(number)

    def cancel_next(self, number: int) -> None:
        """What `cancel` does in task `number`."""
        self.tasks[(number + 1) % len(self.tasks)].cancel()

    def goes_on(self, number: int, got: Any) -> None:
        """Task `number` has been resumed with `got`: is that what the model says?"""
        model = self.model
        ready = model.ready
        if self.log is not None:
            self.log.append(f"task {number}: goes on with {shown(got)}")
        if not ready:
            model.pass_time()
        if number not in ready:
            self.fail(f"task {number} goes on", "it waits", got)
        want = model.resume(number)
        if got is not want and not same(got, want):
            self.fail(f"task {number} goes on", want, got)
        really = [task.id - 2 for task in self.kernel.ready]  # task 0 is #2: main is #1
        if really != ready:
            self.fail(f"the ready queue when task {number} goes on", ready, really)
        if self.strict:
            self.compare_states(f"the state when task {number} goes on")

    def compare_ends(self) -> None:
        """Nothing can happen any more: is that what the model says?"""
        model = self.model
        if not model.ready:
            model.pass_time()
        left = {number for number, task in enumerate(self.tasks) if not task.done}
        if left != model.blocked or model.ready:
            want = f"{sorted(model.blocked)} wait, {model.ready} can go on"
            self.fail("the end", want, f"{sorted(left)} wait")
        self.compare_states("the state at the end")

    def compare_states(self, when: str) -> None:
        got, want = self.primitive.state(self.things), self.model.state()
        if got != want:
            self.fail(when, want, got)

    def fail(self, what: str, want: Any, got: Any) -> None:
        self.failed = True
        text = f"{what}: the model says {shown(want)}, the library {shown(got)}"
        if self.log is not None:
            self.log.append(text)
        raise Mismatch(text)

    def end(self) -> Any:
        """What came of it: all outcomes, who waits, and the state."""
        return end_of(self.model, [list(map(plainly, outcomes)) for outcomes in self.outcomes])


def end_of(model: Model, outcomes: list[list[Any]]) -> Any:
    """What came of an execution, to be put into a set."""
    return tuple(map(tuple, outcomes)), tuple(sorted(model.blocked)), str(model.state())


def same(got: Any, want: Any) -> bool:
    """Whether a result of the library is the one that a model said."""
    got = plainly(got)
    return type(got) is type(want) and bool(got == want)


def plainly(got: Any) -> Any:
    """A result of the library in the form that models have it."""
    if type(got) is tuple:
        return got[0], plainly(got[1])
    return GUARD if type(got) is Guard else got


def shown(outcome: Any) -> str:
    """An outcome, for people to read."""
    return outcome.__name__ if isinstance(outcome, type) else str(plainly(outcome))
