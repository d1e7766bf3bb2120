"""Which poller a kernel gets, by name or by object."""

from __future__ import annotations

import select
import selectors
from collections.abc import Callable
from typing import Any

from microthreads.kernel import EpollPoller, Poller, SelectorPoller

POLLERS: dict[str, Callable[[], Poller]] = {
    "epoll": EpollPoller,
    "poll": lambda: SelectorPoller(selectors.PollSelector),
    "select": lambda: SelectorPoller(selectors.SelectSelector),
}


def make_poller(choice: Any) -> Poller:
    """The poller that `choice` stands for.

    Args:
        choice: None for the best of the platform; "epoll", "poll" or "select";
            a `Poller`; or an object like `selectors.BaseSelector`.

    Raises:
        ValueError: The name is none of these, or this platform has no such poller.
        TypeError: It is neither a name, nor a poller, nor a selector.
    """
    if choice is None:
        return EpollPoller() if hasattr(select, "epoll") else SelectorPoller()
    if isinstance(choice, str):
        if choice not in POLLERS:
            raise ValueError(f"unknown poller {choice!r}: choose from {', '.join(POLLERS)}")
        try:
            return POLLERS[choice]()
        except AttributeError:
            raise ValueError(f"this platform has no {choice}: choose another poller") from None
    if hasattr(choice, "watch") and hasattr(choice, "poll"):
        poller: Poller = choice
        return poller
    if hasattr(choice, "register") and hasattr(choice, "select"):
        return SelectorPoller(choice)
    raise TypeError(
        f"poller= takes a name ({', '.join(POLLERS)}), a poller, or a selector, not {choice!r}"
    )
