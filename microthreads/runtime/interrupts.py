"""Ctrl-C, signals and fork: what comes upon a kernel from the operating system.

Ctrl-C. The handler only sets flags and rings the inbox; the kernel acts between
two rounds. The first cancels the main task, so that `finally` blocks run. The
second prints the task table, from the handler itself, since a task that never
yields may be the reason for it. The third stops at once.

Other signals. Their handlers are the program's, and may raise at any moment, also while
the kernel itself works: `mend`.

Fork. The child's copy of a kernel shares its epoll with the parent, and would
run the parent's tasks a second time. So it is dead: its poller and inbox are
given back at once (which closes the child's copies only), its ready queue is
emptied, and the task that forked gets `ForkedError` at its next yield.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # see DOC: design/imports
import os
import weakref
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from microthreads.errors import ForkedError, kind_of, text_of
from microthreads.kernel import Failure
from microthreads.kernel.current import this_thread
from microthreads.kernel.pollers import report
from microthreads.kernel.routines import is_suspended

if TYPE_CHECKING:
    from microthreads.runtime.inbox import Inbox
    from microthreads.runtime.kernel import Kernel
    from microthreads.runtime.outside import Reachable

STANDARD_ERROR = 2


class Signals:
    """Inside this block signals reach `kernel`, and Ctrl-C cancels its main task.

    Ctrl-C only where Python's own handler is in place. For all signals: a
    handler written in Python runs between two bytecodes, and a signal that
    comes just before the poller blocks would wait for the next event. So the
    signal itself rings the inbox, through `signal.set_wakeup_fd`, from the
    first time on that the kernel waits.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._wakeup: int | None = None  # what was to be rung before

    def __enter__(self) -> None:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            try:
                signal.signal(signal.SIGINT, self.handle)
            except ValueError:
                return  # only the main thread gets signals
        self._kernel.signals = self
        if self._kernel.inbox.bell() >= 0:
            self.ring(self._kernel.inbox)

    def ring(self, inbox: Inbox) -> None:
        """Have each signal ring the inbox."""
        try:
            self._wakeup = signal.set_wakeup_fd(inbox.bell(), warn_on_full_buffer=False)
        except ValueError:
            pass  # this is not the main thread, after all

    def __exit__(self, *exc_info: object) -> None:
        if self._kernel.signals is None:
            return
        self._kernel.signals = None
        self._kernel.give_signals_back()
        if self._wakeup is not None:
            signal.set_wakeup_fd(-1 if self._kernel.forked else self._wakeup)
        if signal.getsignal(signal.SIGINT) == self.handle:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler of Ctrl-C."""
        kernel = self._kernel
        if kernel.signals is not self:  # a tool has given it back, when its run was over
            running: Any = this_thread.kernel
            signals = getattr(running, "signals", None)
            (signal.default_int_handler if signals is None else signals.handle)(number, frame)
            return
        kernel.interrupts += 1
        kernel.hurry = True
        if kernel.interrupts == 1:
            if kernel.main is not None:
                kernel.main.cancel_soon("Ctrl-C")
            kernel.inbox.post(self._interrupt, ())
        elif kernel.interrupts == 2:
            os.write(STANDARD_ERROR, _table(kernel).encode(errors="replace"))
        else:
            raise KeyboardInterrupt

    def _interrupt(self) -> None:
        if self._kernel.interrupts:  # the run that it was meant for is not over
            self._kernel.interrupt()


def _table(kernel: Kernel) -> str:
    try:
        table = str(kernel.snapshot())
    except Exception as error:  # a task that cannot be shown must not hide the rest
        table = f"no table of tasks: {kind_of(error)}: {text_of(error)}"
    return f"\n{table}\nCtrl-C once more stops at once\n"


def mend(kernel: Kernel, error: BaseException) -> None:
    """`error` was raised in the middle of a turn: put every task where it belongs.

    By a signal handler, mostly. The task that was being served may be nowhere: then it is
    raised in that, as if it had come a moment earlier. The rest of its batch stays ready,
    and first. What the poller has reported, and was not looked at, is looked at again.
    """
    batch, kernel.batch = kernel.batch, []
    task, kernel.current = kernel.current, None
    rest = batch[batch.index(task) + 1 :] if task in batch else batch
    if task is not None and task.done:
        while task.joiners:
            task.joiners.wake_first(task.value)
        kernel.let_go(task)
    elif task is not None and task.waiting_on is None and task not in kernel.ready:
        suspended = is_suspended(task.routine)
        if suspended is None:  # it has ended, and nobody was told
            kernel.exit(task, Failure(error))
        else:
            task.value = Failure(error) if suspended else None
            rest = [task, *rest]
    if rest:
        kernel.portions.append(rest)
    for descriptor in list(getattr(kernel.poller, "watched", {}).values()):
        report(descriptor.reading, kernel.again)
        report(descriptor.writing, kernel.again)


class Forked:
    """What cancels a forked copy's tasks: the scope that nothing shields."""

    def interruption(self, call: Any) -> BaseException:
        return forked_error()


class NoPoller:
    """The poller of a forked copy: nothing can be waited for."""

    name = "none"
    armed = 0

    def watch(self, descriptor: Any) -> NoReturn:
        raise forked_error()

    forget = probe = poll = fileno = watch

    def close(self) -> None:
        pass


def forked_error() -> ForkedError:
    return ForkedError(
        "this kernel was running when the process forked, and only the parent may go on "
        "with it; in the child, leave by os._exit() or exec, or use a fresh run()"
    )


kernels: weakref.WeakSet[Reachable] = weakref.WeakSet()


def _disown_all() -> None:
    """In a forked child: nothing of the parent's kernels may act here."""
    disowned = list(kernels)
    bells = {kernel.inbox.bell() for kernel in disowned}
    wakeup = signal.set_wakeup_fd(-1)
    if wakeup != -1 and wakeup not in bells:
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    if isinstance(getattr(signal.getsignal(signal.SIGINT), "__self__", None), Signals):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    this_thread.kernel = None
    for kernel in disowned:
        kernel.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
