"""Judges every case in this interpreter and prints one JSON document. Needs nothing but the standard library.

`run.py [--first] [CASE …]`: all cases, or those named; with `--first` without those that others wrote later."""

import importlib
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "src")]

from plimsoll._judging import prepare, verdict_on  # noqa: E402


def site_of(operation, source):
    """The line marked `# site` nearest below the operation's first line, or above where a helper is to blame."""
    first = operation.__code__.co_firstlineno
    marked = [number for number, line in enumerate(source, 1) if "# site" in line]
    below = [number for number in marked if number >= first and number - first <= 8]
    return below[0] if below else max(number for number in marked if number < first)


def also_sites(operation, module, source):
    """The lines marked `# also: NAME`, which are as right as the site."""
    file = os.path.basename(module.__file__)
    return [f"{file}:{n}" for n, line in enumerate(source, 1) if line.endswith(f"# also: {operation.__name__}")]


def judged(group, module, name):
    """One case, in a process of its own: what it leaks is nobody else's noise."""
    entry = module.CASES[name]
    operation, holder = entry if group == "leaky" else (entry, None)
    missing = prepare()
    if missing:
        raise SystemExit(missing)
    verdict = verdict_on(operation)
    document = verdict.to_json()
    document.update(case=name, group=group, cpu=time.process_time())
    if group == "leaky":
        culprit = verdict.culprit
        source = open(module.__file__, encoding="utf-8").read().splitlines()
        expected = f"{os.path.basename(module.__file__)}:{site_of(operation, source)}"
        places = [] if culprit is None else [str(culprit.added), str(culprit.site)]
        holders = [holder, *getattr(module, "ALSO", {}).get(name, ())]
        sites = [expected, *also_sites(operation, module, source)]
        document.update(
            wanted_holder=holder,
            holder_right=culprit is not None
            and any(culprit.holder is None if part is None else part in str(culprit.holder) for part in holders),
            site_right=any(place.endswith(tuple(sites)) for place in places),
            wanted_site=expected,
        )
    elif sys.version_info[:2] in module.LEAKS_ON.get(name, []):
        document["group"] = "leaks here"
    return document


def main():
    wanted = set(sys.argv[1:])
    first = "--first" in wanted
    wanted.discard("--first")
    results = []
    for file in ("leaky", "clean") if first else ("leaky", "clean", "leaky_later", "clean_later"):
        group = file.split("_")[0]
        module = importlib.import_module(file)
        for name in module.CASES:
            if wanted and name not in wanted:
                continue
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reader)
                with os.fdopen(writer, "w") as out:
                    json.dump({**judged(group, module, name), "later": file.endswith("_later")}, out)
                os._exit(0)
            os.close(writer)
            with os.fdopen(reader) as said:
                results.append(json.loads(said.read() or "null"))
            os.waitpid(child, 0)
    cpu = sum(result["cpu"] for result in results)
    json.dump({"python": sys.version.split()[0], "cpu": cpu, "cases": results}, sys.stdout)


if __name__ == "__main__":
    main()
