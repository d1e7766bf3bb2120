"""Signals that tasks wait for: caught from the first wait on, until the run ends.

The handler does nothing but post; the kernel then hands the signal to all tasks that
wait for it, or remembers it for the next one. What the signals did before comes back
when the run ends, and in a forked child at once.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # see DOC: design/imports
from collections.abc import Iterable
from types import FrameType
from typing import TYPE_CHECKING, Any

from microthreads.kernel import WaitQueue

if TYPE_CHECKING:
    from microthreads.runtime.outside import Reachable


class Caught:
    """The signals that the tasks of one kernel wait for.

    Attributes:
        waiters: The calls that wait; each has its `numbers`.
        pending: The signals that came while no task waited for them, each once.
    """

    def __init__(self, kernel: Reachable) -> None:
        self._kernel = kernel
        self._before: dict[int, Any] = {}  # what the signals did before
        self.waiters = WaitQueue()
        self.pending: list[int] = []

    def catch(self, numbers: Iterable[int]) -> None:
        """From now on, these are for tasks.

        Raises:
            OSError: One cannot be caught.
            RuntimeError: This is not the main thread.
        """
        for number in numbers:
            if number not in self._before:
                try:
                    self._before[number] = signal.signal(number, self._came)
                except OSError as error:
                    from signal import Signals  # noqa: PLC0415  (likewise)

                    name = Signals(number).name
                    raise OSError(error.errno, f"{name} cannot be caught, by no process") from None
                except ValueError:
                    raise RuntimeError("only a kernel in the main thread gets signals") from None

    def _came(self, number: int, frame: FrameType | None) -> None:
        """The handler. An impatient second Ctrl-C is nothing that should wait."""
        before = self._before.get(number)
        if self._kernel.closed:
            self.give_back()  # it was closed where signals cannot be given back
            signal.raise_signal(number)
        elif number == signal.SIGINT and number in self.pending and callable(before):
            before(number, frame)
        else:
            self._kernel.inbox.post(self._deliver, (number,))

    def _deliver(self, number: int) -> None:
        waiting = [call for call in self.waiters if number in call.numbers]
        for call in waiting:
            if call.waiter is not None:  # a select may wait for it twice
                call.disarm(call.waiter)
                call.wake(next(each for each in call.numbers if each == number))
        if not waiting and number not in self.pending:
            self.pending.append(number)

    def give_back(self) -> None:
        """Have the signals do what they did before."""
        for number, before in list(self._before.items()):
            try:
                if signal.getsignal(number) == self._came:
                    signal.signal(number, before)
            except TypeError:  # what it did before was not set from Python, and is lost
                signal.signal(number, signal.SIG_DFL)
            except ValueError:
                continue  # this is not the main thread: when it comes, it is given back
            del self._before[number]
        self.pending.clear()
