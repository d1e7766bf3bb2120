"""The names that are also in `threading` and `queue` have the same parameters as there.

What is C code there, or newer than this Python, is written down as it is documented.
"""

from __future__ import annotations

import asyncio
import inspect
import queue
import sys
import threading

import pytest

import microthreads

REQUIRED = inspect.Parameter.empty

# Signatures as documented, for what cannot be asked: name -> [(parameter, default), ...].
LOCK = {
    "__init__": [],
    "acquire": [("blocking", True), ("timeout", -1)],
    "release": [],
    "locked": [],
}
DOCUMENTED = {
    "Lock": LOCK,
    # locked() of an RLock and of a Condition came with Python 3.14.
    "RLock": LOCK,
    # A Condition passes these on to its lock.
    "Condition": {
        "acquire": LOCK["acquire"],
        "release": [],
        "locked": [],
    },
    # Both came with Python 3.13.
    "Queue": {"shutdown": [("immediate", False)]},
    "LifoQueue": {"shutdown": [("immediate", False)]},
    "PriorityQueue": {"shutdown": [("immediate", False)]},
}

# What we do not have, and why.
LEFT_OUT = {
    "Lock": {
        "acquire_lock": "an old name of acquire",
        "release_lock": "an old name of release",
        "locked_lock": "an old name of locked",
    },
    "RLock": {},
    "Semaphore": {},
    "BoundedSemaphore": {},
    "Event": {"isSet": "an old name of is_set"},
    "Condition": {"notifyAll": "an old name of notify_all"},
    "Barrier": {},
    "Queue": {},
    "LifoQueue": {},
    "PriorityQueue": {},
}

# Attributes that are not methods, of the twins' instances.
ATTRIBUTES = {
    "Barrier": ["parties", "n_waiting", "broken"],
    "Queue": ["maxsize", "unfinished_tasks", "is_shutdown"],
}

TWINS = {
    "Lock": type(threading.Lock()),
    "RLock": type(threading.RLock()),
    **{
        name: getattr(threading, name)
        for name in ("Semaphore", "BoundedSemaphore", "Event", "Condition", "Barrier")
    },
    **{name: getattr(queue, name) for name in ("Queue", "LifoQueue", "PriorityQueue")},
}

# Which calls may wait, and so are system calls; all others are plain.
BLOCKING = {
    "Lock": ["acquire"],
    "RLock": ["acquire"],
    "Semaphore": ["acquire"],
    "BoundedSemaphore": ["acquire"],
    "Event": ["wait"],
    "Condition": ["acquire", "wait", "wait_for"],
    "Barrier": ["wait"],
    "Queue": ["put", "get", "join"],
    "LifoQueue": ["put", "get", "join"],
    "PriorityQueue": ["put", "get", "join"],
}


def parameters(function, *, ours=False):
    """Names and defaults of what `function` takes; of ours, what is not keyword-only."""
    found = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        if ours and parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            continue
        found.append((parameter.name, parameter.default))
    return found


def public_methods(cls):
    return sorted(
        name for name in dir(cls) if not name.startswith("_") and callable(getattr(cls, name))
    )


def expected_of(name, method):
    """The parameters of the twin's method, asked or as documented."""
    if method in DOCUMENTED.get(name, {}):
        return DOCUMENTED[name][method]
    return parameters(getattr(TWINS[name], method))


CASES = [
    (name, method)
    for name, twin in TWINS.items()
    for method in sorted({"__init__", *public_methods(twin), *DOCUMENTED.get(name, {})})
    if method not in LEFT_OUT[name]
]


@pytest.mark.parametrize(("name", "method"), CASES)
def test_a_method_has_the_parameters_and_defaults_of_its_twin(name, method):
    ours = getattr(getattr(microthreads, name), method)
    assert parameters(ours, ours=True) == expected_of(name, method)


@pytest.mark.parametrize(("name", "method"), CASES)
def test_what_we_add_is_keyword_only_and_has_a_default(name, method):
    known = [parameter for parameter, _ in expected_of(name, method)]
    ours = inspect.signature(getattr(getattr(microthreads, name), method)).parameters
    added = [ours[each] for each in ours if each != "self" and each not in known]
    assert [each.name for each in added] == (["name"] if method == "__init__" else [])
    for parameter in added:
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert parameter.default is None


@pytest.mark.parametrize(("name", "method"), CASES)
def test_what_a_twin_takes_by_position_is_taken_by_position_and_by_name(name, method):
    ours = inspect.signature(getattr(getattr(microthreads, name), method)).parameters
    for parameter, _ in expected_of(name, method):
        assert ours[parameter].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD


@pytest.mark.parametrize("name", TWINS)
def test_only_what_is_listed_is_left_out(name):
    ours = public_methods(getattr(microthreads, name))
    missing = [method for method in public_methods(TWINS[name]) if method not in ours]
    assert sorted(missing) == sorted(set(LEFT_OUT[name]) & set(public_methods(TWINS[name])))


def test_the_documented_signatures_are_those_that_can_be_asked():
    """So that the tables above are right: where this Python can tell, it is asked."""
    asked = 0
    for name, methods in DOCUMENTED.items():
        for method, expected in methods.items():
            if method == "__init__":
                continue
            try:
                found = parameters(getattr(TWINS[name], method))
            except (AttributeError, ValueError):
                continue
            if any(parameter in ("args", "kwargs") for parameter, _ in found):
                continue
            asked += 1
            assert found == expected, (name, method)
    if sys.version_info >= (3, 13):
        assert asked >= 3


@pytest.mark.parametrize("name", ["Lock", "RLock"])
def test_a_lock_of_threading_takes_what_the_table_says(name):
    lock = getattr(threading, name)()
    assert lock.acquire(blocking=True, timeout=-1) is True
    lock.release()
    assert lock.acquire(True, -1) is True
    lock.release()


@pytest.mark.parametrize(
    ("name", "attribute"), [(name, each) for name, names in ATTRIBUTES.items() for each in names]
)
def test_an_instance_has_the_attributes_of_its_twin(name, attribute):
    arguments = (2,) if name == "Barrier" else ()
    twin = TWINS[name](*arguments)
    ours = getattr(microthreads, name)(*arguments)
    if attribute == "is_shutdown" and sys.version_info < (3, 13):
        assert getattr(ours, attribute) is False
    else:
        assert getattr(ours, attribute) == getattr(twin, attribute)


@pytest.mark.forgets
@pytest.mark.parametrize("name", TWINS)
def test_what_may_wait_returns_a_system_call_and_nothing_else_does(name):
    arguments = {
        "put": ("item",),
        "wait_for": (bool,),
        "put_nowait": ("item",),
        "shutdown": (),
    }
    blocking = BLOCKING[name]
    if name in ("Lock", "RLock", "Condition"):
        plain = ["locked"]
    elif name == "Event":
        plain = ["is_set", "set", "clear"]
    elif name == "Barrier":
        plain = ["reset", "abort"]
    elif name == "Semaphore":
        plain = ["release"]
    elif name == "BoundedSemaphore":
        plain = []
    else:
        plain = ["qsize", "empty", "full", "put_nowait", "get_nowait", "task_done", "shutdown"]
    thing = getattr(microthreads, name)(*((2,) if name == "Barrier" else ()))
    for method in blocking:
        call = getattr(thing, method)(*arguments.get(method, ()))
        assert isinstance(call, microthreads.SystemCall), method
    for method in plain:
        result = getattr(thing, method)(*arguments.get(method, ()))
        assert not isinstance(result, microthreads.SystemCall), method


@pytest.mark.parametrize("name", sorted({*TWINS, "TaskGroup", "BrokenBarrierError"}))
def test_every_twin_is_a_public_name(name):
    assert name in microthreads.__all__
    assert hasattr(microthreads, name)


@pytest.mark.parametrize("name", ["Empty", "Full"])
def test_the_errors_of_queue_are_public_names(name):
    assert name in microthreads.__all__
    assert issubclass(getattr(microthreads, name), Exception)
    assert issubclass(getattr(queue, name), Exception)


@pytest.mark.parametrize(
    ("method", "positional", "keyword_only"),
    [("spawn", ["routine"], ["name", "daemon"]), ("join", [], []), ("cancel", ["reason"], [])],
)
def test_a_task_group_spawns_and_joins(method, positional, keyword_only):
    function = getattr(microthreads.TaskGroup, method)
    found = inspect.signature(function).parameters.values()
    by_position = [each.name for each in found if each.kind is each.POSITIONAL_OR_KEYWORD]
    by_name = [each.name for each in found if each.kind is each.KEYWORD_ONLY]
    assert by_position[1:] == positional
    assert by_name == keyword_only


def test_a_task_group_is_made_and_used_in_a_block_as_that_of_asyncio():
    twin = parameters(asyncio.TaskGroup)
    assert parameters(microthreads.TaskGroup) == twin == []
    for name in ("__aenter__", "__aexit__"):
        assert inspect.iscoroutinefunction(getattr(microthreads.TaskGroup, name))
        assert inspect.iscoroutinefunction(getattr(asyncio.TaskGroup, name))


def test_spawning_in_a_group_takes_what_the_plain_spawn_takes():
    ours = inspect.signature(microthreads.TaskGroup.spawn).parameters
    plain = inspect.signature(microthreads.spawn).parameters
    assert [each for each in ours if each != "self"] == list(plain)
    for name, parameter in plain.items():
        assert ours[name].default == parameter.default
        assert ours[name].kind == parameter.kind
