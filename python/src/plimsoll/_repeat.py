"""Repeats a pytest item the way pytest runs it: function fixtures set up and torn down each time, wider ones kept.

Three ways, the cheapest that is faithful. *Direct*: a plain function without function-scoped fixtures is called.
*Item*: set-up, `runtest` and teardown of the item, without the hooks around them. *Hooks*: the three hooks themselves,
where a plugin or a conftest other than pytest's own has a say in them, or the test reads the log.
"""

from __future__ import annotations

import inspect
from typing import Any, Callable, Dict, List, Sequence, Tuple

import pytest

from ._rounds import NotRepeatable

_HOOKS = ("pytest_runtest_setup", "pytest_runtest_call", "pytest_runtest_teardown")
#: Modules whose hooks around the phases report, capture or time: nothing that a repetition needs.
_IGNORED = (
    "_pytest.",
    "plimsoll.",
    "xdist.",
    "pytest_cov.",
    "pytest_rerunfailures",
    "pytest_timeout",
    "pytest_asyncio.",
)
#: Modules whose ways to call a plain function are the plain way.
_CALLERS = ("_pytest.", "pytest_asyncio.", "anyio.")
_SUSPENDS = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_GENERATOR
#: Fixtures that live in hooks around the phases.
_NEEDS_HOOKS = frozenset({"caplog"})


class _Sibling:
    """Stands for a next test of the same module and class: makes pytest tear down this item's fixtures alone."""

    def __init__(self, item: pytest.Item) -> None:
        self._chain: List[Any] = [*item.listchain()[:-1], object()]

    def listchain(self) -> List[Any]:
        return self._chain


def _has_others(hooks: Any, names: Sequence[str], ignored: Tuple[str, ...]) -> bool:
    for name in names:
        for implementation in getattr(hooks, name).get_hookimpls():
            module = getattr(implementation.function, "__module__", "") or ""
            if not (module + ".").startswith(ignored):
                return True
    return False


#: What is known of the hooks that the tests of a folder share, by identity of their proxy, which is kept with it.
_known: Dict[int, Tuple[Any, bool, bool]] = {}


def _foreign(item: pytest.Item) -> Tuple[bool, bool]:
    """Whether others have a say in the phases of this test, and in how its function is called."""
    hooks = item.ihook
    known = _known.get(id(hooks))
    if known is None:
        phases = _has_others(hooks, _HOOKS, _IGNORED)
        known = (hooks, phases, _has_others(hooks, ("pytest_pyfunc_call",), _CALLERS))
        _known[id(hooks)] = known
    return known[1], known[2]


def _is_direct(item: pytest.Item) -> bool:
    if type(item) is not pytest.Function:
        return False
    code = getattr(item.obj, "__code__", None)
    if code is None or code.co_flags & _SUSPENDS:
        return False
    info = item._fixtureinfo
    names = set(info.names_closure) - {"request"}
    if "request" in info.argnames:
        return False
    for name in names:
        definitions = info.name2fixturedefs.get(name)
        if not definitions:
            # Parameters that older pytest sets without a fixture.
            if name in getattr(getattr(item, "callspec", None), "funcargs", {}):
                continue
            return False
        definition = definitions[-1]
        is_parameter = getattr(definition.func, "__name__", "") == "get_direct_param_fixture_func"
        if definition.scope == "function" and not is_parameter:
            return False
    return True


class Repetition:
    """One item, ready to be run again and again. Made after its first run, before its teardown."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._state: Any = item.session._setupstate
        self._sibling: Any = _Sibling(item)
        self._sections = len(item._report_sections)
        self._properties = len(item.user_properties)
        stash: Any = item.stash
        self._stash: Dict[Any, Any] = stash._storage
        #: As the phases before the call left it: fixtures of pytest's own expect to find it so at teardown.
        self._stashed = dict(self._stash)
        self._wider: List[Tuple[List[Any], int]] = []
        self._is_tidied = False
        self.way = "item"
        in_phases, in_call = _foreign(item)
        if in_phases or not _NEEDS_HOOKS.isdisjoint(getattr(item, "fixturenames", ())):
            self.way = "hooks"
        elif not in_call and _is_direct(item):
            self.way = "direct"
        #: A function that is called and nothing else, and whose first run neither printed nor logged.
        self.is_silent = self.way == "direct" and not self._sections

    def release(self) -> None:
        """Tears down what the first run left of the item's own fixtures. Its exceptions are the test's."""
        self._state.teardown_exact(self._sibling)
        # A wider fixture keeps a finaliser for each narrower one that ever asked for it: growth of pytest's own, which
        # is ours to undo. The request knows the fixtures that the first run asked for, by name or not.
        request: Any = getattr(self._item, "_request", None)
        definitions = [d for of_name in getattr(request, "_arg2fixturedefs", {}).values() for d in of_name]
        definitions.extend(getattr(request, "_fixture_defs", {}).values())
        for definition in {id(d): d for d in definitions}.values():
            finalizers = getattr(definition, "_finalizers", None)
            if definition.scope != "function" and isinstance(finalizers, list):
                self._wider.append((finalizers, len(finalizers)))

    def restore(self) -> None:
        """Leaves the item as its own phases left it."""
        self._stash.clear()
        self._stash.update(self._stashed)

    def _tidy(self) -> None:
        if not self._is_tidied:
            # Those that the first repetition made longer are the ones that every repetition makes longer.
            self._is_tidied = True
            self._wider = [(finalizers, length) for finalizers, length in self._wider if len(finalizers) > length]
        for finalizers, length in self._wider:
            del finalizers[length:]
        del self._item.user_properties[self._properties :]

    def operation(self) -> Callable[[], None]:
        """What one repetition is. For the direct way the fixtures of the first run must still be there."""
        if self.way == "direct":
            return self._direct()
        return self._by_hooks if self.way == "hooks" else self._by_item

    def _direct(self) -> Callable[[], None]:
        item: Any = self._item
        arguments = {name: item.funcargs[name] for name in item._fixtureinfo.argnames}
        function = item.obj
        owner = item.cls
        name = item.originalname or item.name
        if owner is not None and not isinstance(inspect.getattr_static(owner, name, None), (staticmethod, classmethod)):

            def fresh() -> None:
                # A new instance each time, as pytest does it.
                getattr(owner(), name)(**arguments)

            return fresh
        if arguments:

            def call() -> None:
                function(**arguments)

            return call

        def bare() -> None:
            function()

        return bare

    def _prepare(self) -> None:
        item: Any = self._item
        self._stash.clear()
        self._stash.update(self._stashed)
        initrequest = getattr(item, "_initrequest", None)
        if initrequest is not None:
            initrequest()

    def _check(self) -> None:
        # unittest reports its failures to the item instead of raising them.
        failures = getattr(self._item, "_excinfo", None)
        if failures:
            first = failures[0]
            failures.clear()
            raise NotRepeatable(f"{type(first.value).__name__}: {first.value}")

    def _by_item(self) -> None:
        item = self._item
        self._prepare()
        try:
            self._state.setup(item)
            item.runtest()
        finally:
            self._state.teardown_exact(self._sibling)
            self._tidy()
        self._check()

    def _by_hooks(self) -> None:
        item = self._item
        hook = item.ihook
        self._prepare()
        try:
            hook.pytest_runtest_setup(item=item)
            hook.pytest_runtest_call(item=item)
        finally:
            hook.pytest_runtest_teardown(item=item, nextitem=self._sibling)
            del item._report_sections[self._sections :]
            self._tidy()
        self._check()
