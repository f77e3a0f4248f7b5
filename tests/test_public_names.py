"""The public API: every name of `__all__` is there, is documented, and costs nothing unasked."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import qwq_env
from qwq_env.text.python import parse_python

FOLDERS = {module.name for module in pkgutil.iter_modules(qwq_env.__path__) if module.ispkg}
PACKAGES = ["qwq_env", *(f"qwq_env.{name}" for name in qwq_env.__all__ if name in FOLDERS)]
HEAVY = {"torch", "transformers", "trl", "jsonschema", "httpx", "asyncio", "ssl", "sympy"}


def lazy_names(package: str) -> dict[str, str]:
    """Name → module of each lazy export, as the package's source tells type checkers."""
    source = Path(importlib.import_module(package).__file__ or "").read_text()
    [block] = [
        node
        for node in parse_python(source).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    return {
        alias.asname or alias.name: node.module or ""
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


NAMES = [
    (package, name) for package in PACKAGES for name in importlib.import_module(package).__all__
]


@pytest.mark.parametrize(("package", "name"), NAMES, ids=[".".join(name) for name in NAMES])
def test_a_public_name_is_there_and_documented(package: str, name: str) -> None:
    value: Any = getattr(importlib.import_module(package), name)

    if inspect.isclass(value) or inspect.isfunction(value) or inspect.ismodule(value):
        assert inspect.getdoc(value)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__module__.startswith(lazy_names(package).get(name, package))
        assert getattr(sys.modules[value.__module__], name) is value


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_see_what_python_sees(package: str) -> None:
    module = importlib.import_module(package)
    seen = lazy_names(package)

    assert seen.keys() <= set(module.__all__) <= set(dir(module))
    for name, source in seen.items():
        known = importlib.import_module(source)
        assert getattr(known, name) is getattr(module, name)


def test_importing_loads_nothing_more_than_gymnasium_does() -> None:
    packages = ", ".join(package for package in PACKAGES if package != "qwq_env.tools")
    program = (
        "import sys, gymnasium; before = set(sys.modules); import qwq_env;"
        "print(*sorted(set(sys.modules) - before));"
        f"import {packages}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    )
    lines = subprocess.check_output([sys.executable, "-c", program], text=True).splitlines()

    assert lines[0].split() == ["qwq_env", "qwq_env._lazy", "qwq_env._version"]
    assert not set(lines[1].split()) & HEAVY


IMPORTS = [
    "import qwq_env, gymnasium",
    "import gymnasium, qwq_env",
    "import qwq_env; from gymnasium.envs.registration import registry; import gymnasium",
    "import qwq_env.cli.show; import qwq_env, gymnasium.error",
    "import qwq_env; import importlib; gymnasium = importlib.import_module('gymnasium')",
]


@pytest.mark.parametrize("imports", IMPORTS)
def test_the_environments_are_registered_whichever_is_imported_first(imports: str) -> None:
    program = f"{imports}; print('qwq/MathTool-v0' in gymnasium.registry, qwq_env.__version__)"
    said = subprocess.check_output([sys.executable, "-c", program], text=True)

    assert said.startswith("True ")


@pytest.mark.parametrize("verb", ["show", "watch", "export"])
def test_what_only_reads_waits_for_nothing_large(verb: str) -> None:
    program = f"import sys, qwq_env.cli.{verb}; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", program], text=True).split()

    assert not {*HEAVY, "gymnasium", "numpy", "jsonschema", "asyncio"} & {*loaded}


SHOP = """
from qwq_env._lazy import lazy_exports
__all__, __getattr__, __dir__ = lazy_exports(__name__, {"tool": "tool Tool", "other": "Other"})
"""
ORDERS = [
    "from shop import tool",
    "import shop.tool; from shop import tool",
    "from shop.tool import Tool; from shop import tool",
    "from shop import tool; import shop.tool; from shop import tool",
    "import importlib; importlib.import_module('shop.tool'); from shop import tool",
    "import shop.other; tool = shop.tool",
    "from shop import Other, Tool; from shop import tool",
    "from shop import *",
    "import sys, shop.tool; del sys.modules['shop.tool']; import shop.tool; from shop import tool",
    "import importlib, shop.tool; importlib.reload(sys.modules['shop.tool']); tool = shop.tool",
    "import importlib, shop.tool; tool = importlib.reload(shop).tool",
]


@pytest.mark.parametrize("order", ORDERS)
def test_an_export_wins_over_the_submodule_of_its_name(
    order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text(SHOP)
    (tmp_path / "shop" / "tool.py").write_text("class Tool: ...\ndef tool(): return 'the function'")
    (tmp_path / "shop" / "other.py").write_text("from shop.tool import Tool\nclass Other: ...")
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, Any] = {"sys": sys}
    try:
        exec(order, names)

        assert names["tool"]() == "the function"
        assert sys.modules["shop.tool"].Tool is sys.modules["shop"].Tool
    finally:
        for name in ("shop", "shop.tool", "shop.other"):
            sys.modules.pop(name, None)


def test_tool_is_the_decorator() -> None:
    from qwq_env import tool

    @tool
    def double(number: int) -> int:
        """Double a number."""
        return 2 * number

    assert (double.name, double(2)) == ("double", 4)


def test_the_submodule_stays_importable() -> None:
    from qwq_env.tool import Tool

    assert importlib.import_module("qwq_env.tool").Tool is Tool is qwq_env.Tool


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unknown_name_is_no_attribute(package: str) -> None:
    with pytest.raises(ImportError, match="cannot import name 'ToolEnvv'"):
        exec(f"from {package} import ToolEnvv")
    assert not hasattr(importlib.import_module(package), "nothing")
