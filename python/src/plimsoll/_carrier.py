"""The `sitecustomize` that carries the probe: starts it, then gives way to the one it shadows.

The hub writes this file into a private directory, with the run's configuration in the line below, and puts that first
on PYTHONPATH. The probe's own files lie beside it, in a folder that is no package anybody else could import. Written
without annotations, in what every Python parses: a carrier that does not parse speaks on its subject's standard error.
"""
# mypy: ignore-errors

import sys

CONFIG = None  # The hub puts the run's configuration in place of `None` when it writes the carrier.


def _begin(config):
    """Starts the probe. Whatever goes wrong is kept from the subject."""
    try:
        if sys.implementation.name != "cpython":
            return
        package = "_plimsoll_carrier"
        holder = type(sys)(package)
        holder.__path__ = [_here() + "/" + package]

        def load(name):
            """Imports one of the probe's files, and leaves no trace of it among the subject's modules."""
            sys.modules[package] = holder
            before = sys.dont_write_bytecode
            sys.dont_write_bytecode = True
            try:
                return __import__(package + "." + name, fromlist=["start"])
            finally:
                sys.dont_write_bytecode = before
                for known in [known for known in sys.modules if known.split(".", 1)[0] == package]:
                    del sys.modules[known]

        load("_probe").start(config, load)
    except BaseException:
        pass


def _here():
    return __file__.rsplit("/", 1)[0]


def _give_way():
    """Runs the `sitecustomize` that would have been found without us; its exceptions are the subject's own."""
    here = _here()
    sys.path[:] = [folder for folder in sys.path if folder.rstrip("/") != here]
    for finder in sys.meta_path:
        if getattr(finder, "__name__", "") == "PathFinder":
            spec = finder.find_spec("sitecustomize", None)
            if spec is not None and spec.loader is not None and spec.origin != __file__:
                module = type(sys)("sitecustomize")
                module.__spec__, module.__loader__, module.__file__ = spec, spec.loader, spec.origin
                sys.modules["sitecustomize"] = module
                spec.loader.exec_module(module)
            return


if CONFIG is not None:
    _begin(CONFIG)
if __name__ == "sitecustomize":
    # Elsewhere it was put into a process that has run for long.
    _give_way()
