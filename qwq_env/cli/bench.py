"""`qwq bench NAME`: run one of the checkout's `benchmarks/NAME.py`."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

from qwq_env.errors import UsageError, unknown

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq bench`."""
    parser = subparsers.add_parser("bench", help="run a benchmark of the checkout")
    parser.add_argument("name", nargs="?", help="the benchmark; none lists them")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="options of that benchmark")
    parser.set_defaults(run=run)


def names() -> list[str]:
    """Return the benchmarks of this checkout."""
    return sorted(path.stem for path in BENCHMARKS.glob("*.py") if not path.stem.startswith("_"))


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark asked for with the options that follow its name."""
    if not BENCHMARKS.is_dir():
        raise UsageError("benchmarks: not installed with the package; run them from a checkout")
    if arguments.name is None:
        print("\n".join(names()))
        return 0
    if arguments.name not in names():
        raise unknown("benchmark", arguments.name, names())
    spec = importlib.util.spec_from_file_location(
        f"qwq_benchmark_{arguments.name}", BENCHMARKS / f"{arguments.name}.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return int(module.main(arguments.rest))
