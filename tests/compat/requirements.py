"""What an environment is asked for: the declared ranges, at their newest or at their oldest."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

EXTRAS = ("train", "grading", "search", "viewer")
NEED_TORCH = {"torch", "trl", "accelerate"}
TEST_TOOLS = {"pytest", "pytest-asyncio", "hypothesis", "gguf", "psutil"}


def declared(root: Path, *extras: str) -> list[Requirement]:
    """Return what `pyproject.toml` declares for the library itself and these extras."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def wanted(root: Path, *, torch: bool) -> list[str]:
    """Return what pip is to install; without torch, what of `train` can do without it."""
    tools = [str(each) for each in declared(root, "dev") if each.name in TEST_TOOLS]
    if torch:
        return [f"--editable=.[{','.join(EXTRAS)}]", *tools]
    rest = [str(each) for each in declared(root, "train") if each.name not in NEED_TORCH]
    rest.append("jinja2")  # chat templates need it; else torch brings it
    return [f"--editable=.[{','.join(EXTRAS[1:])}]", *rest, *tools]


def at_their_lowest(requirements: Iterable[Requirement]) -> list[str]:
    """Return constraints that hold each library at the lowest version that all of them admit."""
    lowest: dict[str, Version] = {}
    for requirement in requirements:
        for part in requirement.specifier:
            if part.operator == ">=":
                bound = Version(part.version)
                lowest[requirement.name] = max(bound, lowest.get(requirement.name, bound))
    return [f"{name}=={bound}" for name, bound in sorted(lowest.items())]


def pinned(root: Path, name: str) -> str:
    """Return the line of `constraints.txt` that pins a package."""
    text = (root / "constraints.txt").read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(name)}==\S+$", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"constraints.txt: no pin of {name}")
    return found[0]
