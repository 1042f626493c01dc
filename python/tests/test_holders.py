"""Which weak containers hold what they gain, and what a search leaves behind."""

import gc
import weakref

import pytest

from plimsoll._holders import Lengths, Searcher

KEPT = []


class Key:
    """Whatever is asked of it by us is an error."""

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def __getattr__(self, name):
        raise AssertionError(name)

    __bool__ = __len__ = __iter__ = __call__ = __getattr__


class Compared(Key):
    __hash__ = object.__hash__

    def __eq__(self, other):
        raise AssertionError("compared")


def itself(key):
    return key


def by_attributes(key):
    return Key(origin=Key(first=key))


def by_a_closure(key):
    return lambda: key


def an_instance(key):
    return key()


def a_subclass(key):
    return type("Sub", (key,), {})


def nothing(key):
    return Key(text="text " * 20)


def weakly(key):
    return [weakref.ref(key), weakref.WeakSet([key])]


def by_what_grew(key):
    return [KEPT, globals()]


def gained(container, make, map_to):
    """What grew besides `KEPT`, where every key is held."""
    KEPT.clear()
    before = Lengths()
    for _ in range(10):
        key = make()
        container[key] = map_to(key)
        KEPT.append(key)
    grown, _ = before.grown(10)
    assert (10, KEPT) in [(entries, thing) for entries, thing in grown if thing is KEPT]
    KEPT.clear()
    return [thing for entries, thing in grown if thing is not KEPT and entries == 10]


@pytest.mark.parametrize("map_to", [itself, by_attributes, by_a_closure])
@pytest.mark.parametrize("make", [Key, Compared])
def test_values_that_lead_to_their_weak_keys_are_held(make, map_to):
    container = weakref.WeakKeyDictionary()
    assert [thing is container for thing in gained(container, make, map_to)] == [True]


@pytest.mark.parametrize("map_to", [an_instance, a_subclass])
def test_values_of_classes_hold_them(map_to):
    container = weakref.WeakKeyDictionary()
    grown = gained(container, lambda: type("Made", (), {}), map_to)
    assert any(thing is container for thing in grown)


@pytest.mark.parametrize("map_to", [nothing, weakly, by_what_grew])
def test_a_mirror_holds_nothing(map_to):
    assert gained(weakref.WeakKeyDictionary(), Key, map_to) == []


def test_weak_values_hold_nothing():
    assert gained(weakref.WeakValueDictionary(), Key, itself) == []


def test_a_dict_of_weak_references_is_told_as_it_is():
    class ByReference:
        def __init__(self):
            self.kept = {}

        def __setitem__(self, key, value):
            self.kept[weakref.ref(key)] = value

    container = ByReference()
    assert [thing is container.kept for thing in gained(container, Key, by_attributes)] == [True]


def test_a_search_leaves_nothing_behind():
    target = {"of": Key()}
    KEPT[:] = [{"deep": [(target,)]}]
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_referrers(target))
        for _ in range(3):
            assert str(Searcher().path(target)) == f"{__name__}.KEPT[…]['deep'][…][…]"
        assert len(gc.get_referrers(target)) == before
    finally:
        gc.enable()
        KEPT.clear()
