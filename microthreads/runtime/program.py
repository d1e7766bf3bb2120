"""run: a kernel for one program, from its beginning to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, Unpack

from microthreads.kernel import Routine, check_routine, place_of_caller
from microthreads.kernel.current import this_thread
from microthreads.runtime.kernel import Kernel
from microthreads.runtime.outside import refuse_nested

if TYPE_CHECKING:
    from microthreads.runtime.options import KernelOptions

T = TypeVar("T")

OPTIONS = tuple(Kernel.__init__.__kwdefaults__ or ())  # a kernel's


def run(main: Routine[T], **options: Unpack[KernelOptions]) -> T:
    """Run a program: `main` and every task it starts; return what `main` returns.

    Args:
        main: A generator or coroutine object, such as ``main()``.
        **options: What `Kernel` takes: clock, poller, network, policy,
            observers, on_crash, grace.

    Raises:
        TypeError: `main` is not a routine, or there is no such option.
        DeadlockError: Tasks wait, and nothing can wake one.
        KeyboardInterrupt: Ctrl-C was pressed; `main` was cancelled first.
        RuntimeError: A kernel is running in this thread already.
        BaseException: `main` failed; its own error.
    """
    check_routine(main, "run")
    if this_thread.kernel is not None:
        refuse_nested(this_thread.kernel)
    if not options.keys() <= set(OPTIONS):
        wrong = ", ".join(sorted(options.keys() - OPTIONS))
        hint = "; a time limit is a block in main, `with timeout(seconds):`" * ("time" in wrong)
        raise TypeError(f"run() has no option {wrong}: it has {', '.join(OPTIONS)}{hint}")
    with Kernel(**options) as kernel:
        return kernel.run(main, place=place_of_caller())
