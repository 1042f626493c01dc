"""`check`, `no_leak`, the unittest mixin and the monitor, each with a leaky and a fixed twin."""

import os
import threading
import unittest

import pytest

import plimsoll

MIB = 1024 * 1024


def test_check_gives_a_verdict_with_rate_and_holder():
    kept = {}

    def leaky():
        kept[len(kept)] = "x" * 100 + str(len(kept))

    verdict = plimsoll.check(leaky)
    assert verdict.outcome == "leak"
    assert not verdict
    assert verdict.low <= verdict.bytes_per_op <= verdict.high
    assert 150 < verdict.bytes_per_op < 350
    assert "kept" in verdict.culprit.holder
    assert verdict.culprit.added.endswith(f"{os.path.basename(__file__)}:{leaky.__code__.co_firstlineno + 1}")
    assert str(verdict).startswith("leak: +")


def test_check_clears_the_fixed_twin():
    kept = {}

    def fixed():
        kept["last"] = "x" * 100 + str(len(kept))

    verdict = plimsoll.check(fixed)
    assert verdict.outcome == "no leak"
    assert verdict
    assert verdict.would_have_seen < 8


def test_check_awaits_coroutine_functions():
    kept = []

    async def leaky():
        kept.append([0] * 20)

    async def fixed():
        kept.clear()

    assert plimsoll.check(leaky).is_leak
    assert plimsoll.check(fixed).outcome == "no leak"


def test_check_passes_exceptions_and_refuses_nonsense():
    with pytest.raises(ZeroDivisionError):
        plimsoll.check(lambda: 1 / 0)
    with pytest.raises(ValueError, match="cpu_s"):
        plimsoll.check(lambda: None, cpu_s=0)


def test_a_cache_that_has_room_left_is_inconclusive_and_named():
    import functools
    import itertools

    numbers = itertools.count()

    @functools.lru_cache(maxsize=10_000_000)
    def slot(number):
        return [number]

    verdict = plimsoll.check(lambda: slot(next(numbers)))
    assert verdict.outcome == "inconclusive"
    assert "of 10,000,000 entries" in verdict.reason


def test_no_leak_is_a_limit_on_one_block():
    kept = []
    with plimsoll.no_leak("64 KiB") as block:
        kept.append(bytearray(40_000))
    assert 39_000 < block.growth_bytes < 42_000
    with pytest.raises(plimsoll.LeakError, match=r"the block left .* of live memory \(limit: 64 KiB\)"):
        with plimsoll.no_leak(limit="64 KiB"):
            kept.append(bytearray(100_000))
    with pytest.raises(ValueError, match="is no size"):
        plimsoll.no_leak("plenty")


def test_no_leak_counts_descriptors_and_threads():
    opened = []
    with pytest.raises(plimsoll.LeakError, match="1 open descriptors"), plimsoll.no_leak("1 MB"):
        opened.append(os.open("/dev/null", os.O_RDONLY))
    os.close(opened[0])
    stop = threading.Event()
    with pytest.raises(plimsoll.LeakError, match="1 threads"), plimsoll.no_leak("1 MB"):
        threading.Thread(target=stop.wait).start()
    stop.set()


def test_an_exception_of_the_block_is_not_hidden():
    with pytest.raises(KeyError), plimsoll.no_leak(0):
        raise KeyError("its own")


def test_the_mixin():
    kept = []

    class Case(plimsoll.LeakTestMixin, unittest.TestCase):
        def test_leaky(self):
            self.assertNoLeak(lambda: kept.append("x" * 50 + str(len(kept))))

        def test_fixed(self):
            self.assertNoLeak(lambda: kept.clear())
            with self.assertNoGrowth("64 KiB"):
                kept.append(1)

    result = unittest.TestResult()
    unittest.TestLoader().loadTestsFromTestCase(Case).run(result)
    assert result.testsRun == 2
    assert [case.id().rsplit(".", 1)[1] for case, _ in result.failures] == ["test_leaky"]
    assert "leak: +" in result.failures[0][1]
