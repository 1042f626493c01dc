"""Names what grows: the container that gains entries with every operation, by its path from a module.

Lengths of all containers by identity, before and after some operations: the one that gained k entries per operation
holds the growth, also where what it holds is invisible to the collector (strings, numbers, untracked dicts). Then its
referrers up to a module, class, function, generator or thread. Weak containers hold nothing and are left out, unless
what they map their weak keys to keeps these alive.

Shared by the plugin and, in bounded slices, by the probe's explanation of a service.
"""

from __future__ import annotations

import functools
import gc
import io
import itertools
import os
import sys
import sysconfig
import time
import types
import weakref
from array import array
from collections import Counter, deque
from typing import Any, Container, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

_CONTAINERS: Tuple[type, ...] = (list, dict, set, deque, bytearray, array, io.StringIO, io.BytesIO)
#: Containers of bytes, numbers and characters.
_BUFFERS: Tuple[type, ...] = (bytearray, array, io.StringIO, io.BytesIO)
_LRU = type(functools.lru_cache(maxsize=1)(lambda: None))
#: Those whose length is all that `entries` says.
_PLAIN = frozenset((list, dict, set, deque, bytearray, array))
#: Containers that the collector may not know of.
_UNTRACKED = frozenset((dict, bytearray, array))
#: Objects that are looked at before others have their turn: no more than the interpreter has numbers ready to count.
_PART = 256
#: Newest entries of a dict with weak keys that are asked whether they hold their key; steps from a value to it; objects
#: to look at meanwhile, and entries of a container that is gone through at all.
_NEWEST, _STEPS, _LOOKED_AT, _SMALL = 4, 5, 400, 64
_OWN = ("plimsoll", "_plimsoll_carrier")
_DEPTH = 12
#: Holders of a level that are followed; and those of one type, so that a thousand of a kind do not hide the one other.
_WIDTH, _OF_A_TYPE = 24, 8
#: CPU seconds that looking for the way to one thing may take: each level goes through all that the program has.
_PATH_CPU_S = 0.5
#: Things whose referrers are asked for in one call.
_AT_ONCE = 8
#: Levels to go on looking for the user's own root once another was found.
_PATIENCE = 3
_FOLDERS = tuple(
    os.path.join(folder, "")
    for folder in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    if folder
)


def is_user_file(path: str) -> bool:
    """Whether a source file is neither the standard library's nor an installed package's nor ours."""
    if not path or path.startswith("<"):
        return False
    path = os.path.abspath(path)
    if path.startswith(os.path.join(os.path.dirname(os.path.abspath(__file__)), "")):
        return False
    return not path.startswith(_FOLDERS) and "site-packages" not in path and "dist-packages" not in path


def _is_user_module(name: str) -> bool:
    module = sys.modules.get(name)
    path = getattr(module, "__file__", None)
    return isinstance(path, str) and is_user_file(path)


def entries(thing: Any) -> int:
    """How much a container holds: entries, bytes of a buffer."""
    if type(thing) is _LRU:
        return int(thing.cache_info().currsize)
    if isinstance(thing, (io.StringIO, io.BytesIO)):
        return thing.tell()
    return len(thing)


def is_cache(thing: Any) -> bool:
    """Whether it is what `functools.lru_cache` makes."""
    return type(thing) is _LRU


def _is_other(kind: type) -> bool:
    """Whether its instances are containers, and `entries` knows how many there are."""
    return kind not in _PLAIN and (kind is _LRU or issubclass(kind, _CONTAINERS))


class Lengths:
    """Entries of every container at one moment, by identity, and objects by type; and what grew since.

    What is done to each object of a large program has to be little, and little at a time: by comprehensions and calls
    of C's speed, over parts after which other threads have their turn. Only the list of all objects is one call. While
    tracemalloc traces, each number that is made costs more than all the rest, so none is made but for what may have
    grown: the types of a part are fewer than the interpreter has numbers ready, and identities are asked for last.
    """

    def __init__(self) -> None:
        self.entries: Dict[int, int] = {}
        self.types: Dict[type, int] = {}
        self._others: Dict[type, bool] = {}
        known = self.entries
        for plain, others in self._containers(self.types, 0):
            known.update(zip(map(id, plain), map(len, plain)))
            for thing in others:
                held = _entries_or_none(thing)
                if held is not None:
                    known[id(thing)] = held

    def grown(self, least: int) -> Tuple[List[Tuple[int, Any]], Dict[type, int]]:
        """Containers that gained at least so many entries, `(entries gained, container)`, the largest gain first;
        and how many objects of each type there are now.
        """
        known = self.entries
        counts: Dict[type, int] = {}
        found: Dict[int, Tuple[int, Any]] = {}
        weak: Dict[int, Tuple[int, Any]] = {}
        for plain, others in self._containers(counts, least):
            for thing in plain + others:
                was = known.get(id(thing))
                now = None if was is None else _entries_or_none(thing)
                if was is not None and now is not None and now - was >= least:
                    (weak if _is_weak(thing) else found)[id(thing)] = (now - was, thing)
        ranked = [entry for entry in found.values() if entry[1] is not known]
        # After the others: what these gained may be theirs as well.
        keepers = [(gained, _keeper(thing, found)) for gained, thing in weak.values()]
        ranked.extend([entry for entry in keepers if entry[1] is not None])
        # A buffer gains bytes, not entries.
        ranked.sort(key=lambda entry: (isinstance(entry[1], _BUFFERS), -entry[0]))
        return ranked, counts

    def _containers(self, counts: Dict[type, int], least: int) -> Iterator[Tuple[List[Any], List[Any]]]:
        """Those of a plain type with so many entries at least, and all others, in parts: tracked ones, their untracked
        dicts and byte arrays, caches of functions. The youngest come first, and none is held for longer than its turn.
        """
        is_other = self._others
        tracked = gc.get_objects()
        while tracked:
            part = tracked[-_PART:]
            del tracked[-_PART:]
            other_kinds = []
            for kind, count in Counter(map(type, part)).items():
                counts[kind] = counts.get(kind, 0) + count
                if kind not in is_other:
                    is_other[kind] = _is_other(kind)
                if is_other[kind]:
                    other_kinds.append(kind)
            others = [thing for thing in part if type(thing) in other_kinds] if other_kinds else []
            plain = [thing for thing in part if type(thing) in _PLAIN and len(thing) >= least]
            hidden = [thing for thing in gc.get_referents(*part) if type(thing) in _UNTRACKED and len(thing) >= least]
            plain.extend([thing for thing in hidden if not gc.is_tracked(thing)])
            del part, hidden
            yield plain, others


def _entries_or_none(thing: Any) -> Optional[int]:
    try:
        return len(thing) if type(thing) in _PLAIN else entries(thing)
    except Exception:
        # A subclass may do anything in `__len__`.
        return None


def _sample(thing: Any) -> Any:
    """An entry that came late."""
    thing = _inside(thing)
    if isinstance(thing, dict):
        return next(reversed(thing.values())) if thing else None
    if isinstance(thing, (list, deque, tuple)):
        return thing[-1] if thing else None
    if isinstance(thing, set):
        return next(iter(thing), None)
    return None


def _is_weak(thing: Any) -> bool:
    try:
        entry = _sample(thing)
        if isinstance(entry, weakref.ref):
            return True
        return isinstance(thing, dict) and bool(thing) and isinstance(next(iter(thing)), weakref.ref)
    except Exception:
        return False


def _keeper(thing: Any, grown: Container[int]) -> Any:
    """The weak container, if it keeps what it gained last by itself: values that are their own key or lead to it.

    A key that is reached by way of what grew as well is held there. What is told is the `WeakKeyDictionary`, not the
    dict in it.
    """
    if not isinstance(thing, dict):
        return None
    try:
        newest = list(itertools.islice(reversed(dict.items(thing)), _NEWEST))
    except RuntimeError:
        # Another thread adds to it.
        return None
    weak = [(key, value) for key, value in newest if issubclass(type(key), weakref.ref)]
    if not weak or 2 * sum(_leads_to(value, key, grown) for key, value in weak) < len(newest):
        return None
    # The function that removes dead keys knows for whom.
    callback = weak[0][0].__callback__
    for held in (callback.__defaults__ or ()) if type(callback) is types.FunctionType else ():
        owner = held() if type(held) is weakref.ref else None
        if _inside(owner) is thing:
            return owner
    return thing


def _leads_to(value: Any, key: weakref.ref[Any], grown: Container[int]) -> bool:
    """Whether a value is what its key refers to, or has it a few steps away. Nothing of the program's is called."""
    wanted = weakref.ref.__call__(key)
    if wanted is None:
        return False
    if value is wanted:
        return True
    seen = {id(value)}
    level = [value] if issubclass(type(value), type) or not _is_shared(value) else []
    for _ in range(_STEPS):
        following = []
        for thing in level:
            for held in gc.get_referents(thing):
                if held is wanted:
                    return True
                if id(held) in seen or id(held) in grown or _is_shared(held):
                    continue
                if len(seen) >= _LOOKED_AT:
                    return False
                if gc.is_tracked(held) or type(held) is dict:
                    seen.add(id(held))
                    following.append(held)
        level = following
    return False


def _is_shared(thing: Any) -> bool:
    """What belongs to no entry alone or is too much to go through: classes, modules, their names, large containers."""
    kind = type(thing)
    if kind is _LRU or issubclass(kind, (type, types.ModuleType)):
        return True
    plain = next((plain for plain in (dict, list, tuple, set, frozenset, deque) if issubclass(kind, plain)), None)
    if plain is None:
        return False
    return bool(plain.__len__(thing) > _SMALL or (plain is dict and dict.__contains__(thing, "__name__")))


def _inside(thing: Any) -> Any:
    """The dict inside of a `WeakKeyDictionary`; of all else the thing itself."""
    return vars(thing).get("data") if type(thing) is weakref.WeakKeyDictionary else thing


def kind_name(kind: type) -> str:
    """A type as its users write it."""
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", "__main__") else f"{module}.{kind.__qualname__}"


def kind_of_entries(thing: Any) -> Optional[str]:
    """The type of what a container gained last."""
    if isinstance(thing, _BUFFERS):
        if isinstance(thing, array):
            return "numbers"
        return "characters" if isinstance(thing, io.StringIO) else "bytes"
    if isinstance(thing, (str, bytes)):
        return "characters" if isinstance(thing, str) else "bytes"
    if type(thing) is _LRU:
        return None
    entry = _sample(thing)
    if entry is None:
        return None
    kind = kind_name(type(entry))
    if isinstance(entry, (list, tuple)) and entry:
        kind += f" of {kind_name(type(entry[0]))}"
    return kind


def limit_of(thing: Any) -> Optional[Tuple[int, int]]:
    """Entries and limit of a container that has one and has not reached it."""
    limit: Optional[int] = None
    if type(thing) is _LRU:
        limit = thing.cache_info().maxsize
    elif isinstance(thing, deque):
        limit = thing.maxlen
    if limit is None:
        return None
    held = entries(thing)
    return (held, limit) if held < limit else None


# -- names

#: What grows by being replaced, beside the containers: each change is a new object.
_REPLACED: Tuple[type, ...] = (tuple, frozenset, str, bytes)


def named_sizes() -> Dict[str, Tuple[int, Any]]:
    """Sizes of what the user's modules reach by a name: globals, attributes of classes and of objects, closure cells.

    What is replaced by something larger, again and again, is no container that gains entries; its name stays.
    """
    found: Dict[str, Tuple[int, Any]] = {}
    for name, module in list(sys.modules.items()):
        if isinstance(module, types.ModuleType) and _is_user_module(name):
            for key, value in list(vars(module).items()):
                _add_sizes(found, f"{name}.{key}", value, _NAMED_LEVELS)
    return found


#: A global, an attribute of it, and an attribute of that.
_NAMED_LEVELS = 3


def _add_sizes(found: Dict[str, Tuple[int, Any]], name: str, value: Any, levels: int) -> None:
    kind = type(value)
    if kind in _PLAIN or kind in _REPLACED:
        found[name] = (len(value), value)
    elif levels > 1:
        for attribute, held in _attributes(value):
            if not isinstance(held, (types.ModuleType, types.FunctionType)):
                _add_sizes(found, f"{name}{attribute}", held, levels - 1)


def _attributes(value: Any) -> List[Tuple[str, Any]]:
    """Attributes of an object or of a user's class, and cells of a function, as they are kept: nothing is called."""
    if isinstance(value, types.FunctionType):
        cells = zip(value.__code__.co_freevars, value.__closure__ or ())
        # A cell may be empty.
        return [(f" cell `{name}`", held) for name, cell in cells for held in gc.get_referents(cell)]
    try:
        if not isinstance(value, type):
            kept = object.__getattribute__(value, "__dict__")
        elif _is_user_module(str(value.__module__)):
            kept = type.__getattribute__(value, "__dict__")
        else:
            return []
    except AttributeError:
        return []
    return [(f".{name}", held) for name, held in list(kept.items()) if isinstance(name, str)]


# -- paths


def _key_of(mapping: Dict[Any, Any], child: Any) -> Optional[Any]:
    for key, value in list(mapping.items()):
        if value is child:
            return key
    return None


def _key_text(key: Any) -> str:
    text = repr(key) if isinstance(key, (str, int, bytes, float, bool, type(None))) else f"<{type(key).__name__}>"
    return text if len(text) <= 40 else text[:37] + "…"


class Path:
    """How something is reached: the root's name, the steps from it, and whether the root is the user's."""

    def __init__(self, root: str, steps: Sequence[str], is_user: bool, pattern: Optional[str], inside: int = 0) -> None:
        #: Steps that are inside what the root's name already says.
        self.inside = inside
        self.root = root
        self.steps = list(steps)
        self.is_user = is_user
        self.pattern = pattern

    @property
    def worth(self) -> int:
        """A root of the user's says most; a frame of somebody else's says next to nothing."""
        if self.is_user:
            return 2
        return 0 if self.pattern == "suspended frame" else 1

    def __str__(self) -> str:
        return self.root + "".join(self.steps)


def _module_root(holder: Dict[Any, Any], child: Any) -> Optional[Path]:
    name = holder.get("__name__")
    if not isinstance(name, str):
        return None
    module = sys.modules.get(name)
    if module is None or getattr(module, "__dict__", None) is not holder:
        return None
    key = _key_of(holder, child)
    if key is None:
        return None
    return Path(f"{name}.{key}", [], _is_user_module(name), "global reference")


def _function_root(function: types.FunctionType, child: Any, below: Any) -> Optional[Path]:
    """A function holds by its defaults (a tuple, or a dict) and by its closure (cells, each with one value)."""
    name = f"{function.__module__}.{function.__qualname__}"
    is_user = _is_user_module(function.__module__ or "")
    defaults = function.__defaults__
    if defaults is child and defaults is not None:
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        for argument, value in zip(names[len(names) - len(defaults) :], defaults):
            if value is below:
                return Path(f"default argument `{argument}` of {name}", [], is_user, "default argument", inside=1)
    if function.__kwdefaults__ is child and child is not None:
        key = _key_of(child, below)
        return Path(f"default argument `{key}` of {name}", [], is_user, "default argument", inside=1)
    # The closure itself is a tuple of cells; either may be the step before.
    cell = below if child is function.__closure__ else child
    for free, own in zip(function.__code__.co_freevars, function.__closure__ or ()):
        if own is cell:
            inside = 2 if child is function.__closure__ else 1
            return Path(f"closure cell `{free}` of {name}", [], is_user, "closure capture", inside=inside)
    return None


def _cache_root(cache: Any) -> Path:
    module = getattr(cache, "__module__", None) or "?"
    name = f"{module}.{getattr(cache, '__qualname__', '?')}"
    return Path(f"lru_cache of {name}", [], _is_user_module(module), "unbounded map/cache")


def _context_root(holder: Any, parents: Dict[int, Any]) -> Optional[Path]:
    """A context holds what its variables are set to, by nodes of a tree that say nothing."""
    if type(holder).__name__ != "Context" or type(holder).__module__ != "_contextvars":
        return None
    for variable, value in holder.items():
        if id(value) in parents:
            return Path(f"context variable `{variable.name}` (Context)", [], True, "global reference")
    return Path("the current Context", [], True, "global reference")


def _frame_root(word: str, frame: types.FrameType, child: Any) -> Path:
    name = _local_name(frame, child)
    where = f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_name}"
    local = f" (local `{name}`)" if name else ""
    return Path(f"{word} of {where}{local}", [], is_user_file(frame.f_code.co_filename), "suspended frame")


def _suspended_frame(holder: Any) -> Optional[types.FrameType]:
    for attribute in ("gi_frame", "cr_frame", "ag_frame"):
        frame = getattr(holder, attribute, None)
        if isinstance(frame, types.FrameType):
            return frame
    return None


def _local_name(frame: types.FrameType, child: Any) -> Optional[str]:
    for name, value in list(frame.f_locals.items()):
        if value is child:
            return name
    return None


def _step(holder: Any, child: Any) -> Optional[str]:
    """How `child` hangs on `holder`, as written in Python; None if it does not."""
    if isinstance(holder, dict):
        key = _key_of(holder, child)
        if isinstance(key, weakref.ref):
            # How a thread-local keeps the attributes of each thread.
            return ""
        return f"[{_key_text(key)}]" if key is not None or None in holder else None
    if isinstance(holder, (list, tuple, deque)):
        return "[…]"
    if isinstance(holder, (set, frozenset)):
        return " ∋ …"
    attributes = getattr(holder, "__dict__", None)
    if isinstance(attributes, dict):
        if attributes is child:
            return ""
        key = _key_of(attributes, child)
        if key is not None:
            return f".{key}"
    for name in getattr(type(holder), "__slots__", ()) or ():
        if isinstance(name, str) and getattr(holder, name, None) is child:
            return f".{name}"
    return ""


def _referrers(things: List[Any]) -> List[Any]:
    """Whoever refers to any of them, once or more often.

    Each call goes through all there is, with nobody else running meanwhile, and compares each reference with each
    thing: few at a time keep that short.
    """
    found: List[Any] = []
    for start in range(0, len(things), _AT_ONCE):
        found.extend(gc.get_referrers(*things[start : start + _AT_ONCE]))
    return found


class Searcher:
    """Finds how things are reached. Ignores what the search itself holds."""

    def __init__(self, ignored: Iterable[Any] = ()) -> None:
        self._ignored: Set[int] = {id(thing) for thing in ignored}
        frame: Optional[types.FrameType] = sys._getframe()
        self._stack: Set[int] = set()
        while frame is not None:
            self._stack.add(id(frame))
            frame = frame.f_back
        #: What the user's functions that other threads are running hold: the collector knows no frame that runs.
        self._locals: Dict[int, Tuple[types.FrameType, str]] = {}
        self._running_frames: Set[int] = set()
        for top in list(sys._current_frames().values()):
            frame = None if id(top) in self._stack else top
            while frame is not None:
                self._running_frames.add(id(frame))
                # The variables of a module that runs are the module's.
                if frame.f_code.co_name != "<module>" and is_user_file(frame.f_code.co_filename):
                    self._locals.update((id(value), (frame, name)) for name, value in list(frame.f_locals.items()))
                frame = frame.f_back
        # One of them is this very frame, which would keep itself, and its callers' candidates.
        del top

    def ignore(self, thing: Any) -> None:
        """Nothing is reached through this either."""
        self._ignored.add(id(thing))

    def _is_ours(self, holder: Any) -> bool:
        if id(holder) in self._ignored or holder is self.__dict__:
            return True
        if isinstance(holder, types.FrameType):
            return id(holder) in self._stack or holder.f_globals.get("__name__", "").startswith(_OWN)
        return False

    def root(self, holder: Any, child: Any, below: Any = None) -> Optional[Path]:
        """The path if `holder` is where reachability starts."""
        if isinstance(holder, dict):
            return _module_root(holder, child)
        if isinstance(holder, types.FunctionType):
            return _function_root(holder, child, below)
        if type(holder) is _LRU:
            wrapped = getattr(holder, "__wrapped__", None)
            if wrapped is child:
                return None
            return _cache_root(holder)
        if type(holder).__name__ == "FixtureDef" and hasattr(holder, "cached_result"):
            where = f"fixture `{holder.argname}` ({holder.scope} scope)"
            return Path(where, [], is_user_file(holder.func.__code__.co_filename), "fixture", inside=1)
        if isinstance(holder, type):
            for key, value in list(vars(holder).items()):
                if value is child:
                    is_user = _is_user_module(holder.__module__)
                    return Path(f"{kind_name(holder)}.{key}", [], is_user, "global reference")
            return None
        frame = _suspended_frame(holder)
        if frame is not None:
            word = "generator frame" if isinstance(holder, types.GeneratorType) else "coroutine frame"
            return _frame_root(word, frame, child)
        if isinstance(holder, types.FrameType) and id(holder) in self._running_frames:
            # A frame that ended is kept by a traceback, and whoever keeps that is the holder.
            return _frame_root("frame", holder, child)
        return None

    def _running(self, target: Any) -> Optional[Path]:
        """The path if a function that runs in another thread has it in a variable."""
        frame, name = self._locals.get(id(target), (None, ""))
        if frame is None or frame.f_locals.get(name) is not target:
            return None
        where = f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_name}"
        return Path(f"frame of {where} (local `{name}`)", [], True, "suspended frame")

    def path(self, target: Any) -> Optional[Path]:
        """The shortest way from a root to `target`, a user's root before others of the same length."""
        direct = self._self_root(target)
        if direct is not None:
            return direct
        parents: Dict[int, Tuple[Any, Optional[int]]] = {id(target): (target, None)}
        try:
            return self._search(target, parents)
        finally:
            # What the search found includes its own lists: left as they are, such cycles may be frozen, and hide from
            # the next search who holds the same thing.
            parents.clear()

    def _search(self, target: Any, parents: Dict[int, Tuple[Any, Optional[int]]]) -> Optional[Path]:
        """Level by level: `parents` says for each thing found by which child it was."""
        frontier: List[Any] = [target]
        best: Optional[Path] = None
        patience = _PATIENCE
        until = time.thread_time() + _PATH_CPU_S
        for _ in range(_DEPTH):
            if not frontier or patience == 0 or time.thread_time() > until:
                break
            holders = _referrers(frontier)
            ours = {id(holders), id(frontier), id(parents)}
            following: List[Any] = []
            kinds: Dict[type, int] = {}
            for holder in holders:
                if id(holder) in ours or id(holder) in parents or self._is_ours(holder):
                    continue
                for child in frontier:
                    below_id = parents[id(child)][1]
                    below = parents[below_id][0] if below_id is not None else None
                    found = self.root(holder, child, below) or _context_root(holder, parents)
                    if found is not None:
                        found.steps = self._steps(parents, child)[found.inside :]
                        if best is None or found.worth > best.worth:
                            best = found
                        break
                else:
                    child = self._child(holder, frontier)
                    if child is None:
                        continue
                    parents[id(holder)] = (holder, id(child))
                    kinds[type(holder)] = kinds.get(type(holder), 0) + 1
                    if isinstance(holder, dict) and "__module__" in holder:
                        # The namespace of a class, whose root is one step away.
                        following.insert(0, holder)
                    elif kinds[type(holder)] <= _OF_A_TYPE:
                        following.append(holder)
                    found = self._running(holder)
                    if found is not None and (best is None or found.worth > best.worth):
                        found.steps = self._steps(parents, holder)
                        best = found
            holders.clear()
            del following[_WIDTH:]
            frontier.clear()
            if best is not None:
                if best.worth == 2:
                    following.clear()
                    return best
                patience -= 1
            frontier = following
        frontier.clear()
        return best

    def _self_root(self, target: Any) -> Optional[Path]:
        return _cache_root(target) if type(target) is _LRU else self._running(target)

    def _child(self, holder: Any, frontier: List[Any]) -> Optional[Any]:
        if len(frontier) == 1:
            return frontier[0]
        referents = {id(thing) for thing in gc.get_referents(holder)}
        for child in frontier:
            if id(child) in referents:
                return child
        return None

    def _steps(self, parents: Dict[int, Tuple[Any, Optional[int]]], start: Any) -> List[str]:
        """Steps from `start` (the root's own entry) down to the target."""
        steps: List[str] = []
        holder, child_id = parents[id(start)]
        while child_id is not None:
            child, following = parents[child_id]
            step = _step(holder, child)
            # A dictionary of attributes is written as the attribute, not as an entry.
            owner_step = steps[-1] if steps else None
            if owner_step == "" and isinstance(holder, dict) and step and step.startswith("['"):
                steps.pop()
                step = "." + step[2:-2]
            if step is not None:
                steps.append(step)
            holder, child_id = child, following
        return steps
