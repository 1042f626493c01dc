"""What the Python probe costs its subject: sampling at 1 Hz, and a census of a million objects.

    python python/bench/probe.py [--objects 1000000] [--seconds 20] [--turns 5]

Sampling is told twice: by the CPU of the probe's own thread, which the kernel counts in nanoseconds, and as the ratio
of CPU that a fixed piece of work takes with sampling and without, in turns, beside a ratio of two without (what such a
ratio is worth on this machine). The census is told by its CPU, its time, and by the longest time in which a thread of
the subject that never waits did not get to run; beside the same without a census.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from probe_hub import Hub, Peer

SUBJECT = """
import gc, sys, time

class Session:
    def __init__(self, number):
        self.number = number

def fill(objects):
    kept = []
    for number in range(objects // 5):
        # Five that the collector knows; the instance's own dictionary is made where it is asked for.
        kept.append({"number": [number], "session": Session(number), "pair": (number, [])})
    return kept

def work(rounds):
    begun = time.process_time()
    total = 0
    for _ in range(rounds):
        total += sum([len(str(number)) for number in range(1000)])
    return time.process_time() - begun

def spin(seconds):
    longest = 0.0
    now = time.perf_counter
    until = last = now()
    until += seconds
    while last < until:
        at = now()
        if at - last > longest:
            longest = at - last
        last = at
    return longest

KEPT = fill(int(sys.argv[1]))
gc.collect()
print(len(gc.get_objects()), flush=True)
for line in sys.stdin:
    word, argument = line.split()
    if word == "work":
        print(work(int(argument)), flush=True)
    elif word == "spin":
        print(spin(float(argument)), flush=True)
    elif word == "grow":
        KEPT.extend(fill(int(argument)))
        print("grown", flush=True)
"""


class Subject:
    """A process with so many objects, and the probe in it."""

    def __init__(self, folder: Path, objects: int) -> None:
        folder.mkdir()
        self.hub = Hub(folder)
        self.child = self.hub.spawn(["-c", SUBJECT, str(objects)])
        self.peer: Peer
        self.peer, _ = self.hub.greeted()
        self.peer.patience = 600
        self.objects = int(self.child.stdout.readline())

    def ask(self, words: str) -> str:
        self.tell(words)
        return str(self.child.stdout.readline().strip())

    def tell(self, words: str) -> None:
        self.child.stdin.write(words + "\n")
        self.child.stdin.flush()

    def sample(self, rate: float) -> None:
        self.peer.send({"type": "config", "hz": rate, "gc": False})

    def probe_cpu(self) -> float:
        """CPU seconds of every thread but the first: the probe's."""
        total = 0
        for task in Path(f"/proc/{self.child.pid}/task").iterdir():
            if task.name != str(self.child.pid):
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9


def sampling(folder: Path, objects: int, seconds: float, turns: int) -> None:
    subject = Subject(folder, objects)
    subject.sample(1)
    time.sleep(1.5)
    before, begun = subject.probe_cpu(), time.monotonic()
    time.sleep(seconds)
    share = (subject.probe_cpu() - before) / (time.monotonic() - begun)
    rounds = int(200 / max(float(subject.ask("work 200")), 1e-3))
    ratios, same = [], []
    for _ in range(turns):
        times = []
        for rate in (0, 1, 0):
            subject.sample(rate)
            times.append(float(subject.ask(f"work {rounds}")))
        ratios.append(times[1] / ((times[0] + times[2]) / 2))
        same.append(times[2] / times[0])
    print(
        f"sampling at 1 Hz, {subject.objects:,} objects: {share:.3%} of a core by the probe's thread; "
        f"CPU of work {statistics.median(ratios) - 1:+.2%} (without beside without "
        f"{min(same) - 1:+.2%} … {max(same) - 1:+.2%}, {turns} turns)"
    )
    subject.hub.stop()


def census(folder: Path, objects: int, turns: int) -> None:
    subject = Subject(folder, objects)
    subject.peer.call("mark", {"mark": "explanation_start"})
    print(f"census of {subject.objects:,} objects ({turns} of each kind, medians):")

    def prepare(first: bool) -> None:
        if first:
            subject.peer.call("mark", {"mark": "explanation_end"})
            subject.peer.call("mark", {"mark": "explanation_start"})
        else:
            subject.ask("grow 4000")
        # As the engine does before it asks for a census.
        subject.peer.call("collect")

    for name in ("first, which remembers", "later, which compares and names"):
        first = name.startswith("first")
        cpu, wall, pauses, idle = [], [], [], []
        for _ in range(turns):
            prepare(first)
            before, begun = subject.probe_cpu(), time.monotonic()
            subject.peer.call("census", {"scope": "resources"})
            cpu.append(subject.probe_cpu() - before)
            wall.append(time.monotonic() - begun)
            idle.append(float(subject.ask("spin 2")))
            # Once more beside a thread that never waits.
            prepare(first)
            subject.tell("spin 8")
            time.sleep(0.2)
            subject.peer.call("census", {"scope": "resources"})
            pauses.append(float(subject.child.stdout.readline()))
        print(
            f"  {name}: {statistics.median(cpu):.2f} s CPU, {statistics.median(wall):.2f} s, "
            f"longest pause {statistics.median(pauses) * 1e3:.0f} ms (without {statistics.median(idle) * 1e3:.0f} ms)"
        )
    subject.hub.stop()


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    asked.add_argument("--objects", type=int, default=1_000_000)
    asked.add_argument("--seconds", type=float, default=20, help="how long sampling is watched")
    asked.add_argument("--turns", type=int, default=5)
    given = asked.parse_args()
    print(f"Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as name:
        for number, objects in enumerate((10_000, given.objects)):
            sampling(Path(name) / str(number), objects, given.seconds, given.turns)
        census(Path(name) / "census", given.objects, given.turns)


if __name__ == "__main__":
    main()
