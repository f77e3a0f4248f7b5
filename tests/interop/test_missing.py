"""Without an extra, one line says which to install."""

from __future__ import annotations

import importlib
import sys

import pytest

from qwq_env.cli import main
from qwq_env.errors import UsageError


@pytest.mark.parametrize(
    ("module", "package", "name"),
    [
        ("mcp_server", "mcp_types", "mcp"),
        ("openenv_server", "openenv", "openenv"),
        ("verifiers_taskset", "verifiers", "verifiers"),
        ("inspect_tools", "inspect_ai", "inspect"),
        ("inspect_task", "inspect_ai", "inspect"),
        ("trl_factory", "datasets", "train"),
    ],
)
def test_a_door_names_its_extra(module, package, name, monkeypatch):
    full = f"qwq_env.interop.{module}"
    monkeypatch.delitem(sys.modules, full, raising=False)
    for known in [each for each in sys.modules if each.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf"is not installed; pip install 'qwq-env\[{name}\]'"):
        importlib.import_module(full)


@pytest.mark.parametrize("what", [["mcp", "calculator"], ["openenv", "qwq/MathTool-v0"]])
def test_the_command_says_so_in_one_line(what, monkeypatch, capsys):
    for known in [each for each in sys.modules if each.startswith("qwq_env.interop.")]:
        monkeypatch.delitem(sys.modules, known)
    for package in ("mcp_types", "uvicorn"):
        monkeypatch.setitem(sys.modules, package, None)

    assert main(["serve", *what]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "is not installed; pip install 'qwq-env[" in line
