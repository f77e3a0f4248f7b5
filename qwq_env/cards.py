"""What an environment says of itself: the card in its module's docstring.

A card begins with a line "`id`: what is to be done" and holds paragraphs that begin with
`**Task.**`, `**Tools.**`, `**Reward.**` and `**An episode.**`, and others if there is more to say.
It is read from the source: nothing is imported to list what there is.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym

import qwq_env
from qwq_env.errors import UsageError, unknown
from qwq_env.imports import import_named

PARTS = ("task", "tools", "reward", "episode")
_HEADING = re.compile(r"^\*\*(?:an )?(?:example )?(\w+)[^*\n]*\*\*", re.MULTILINE | re.IGNORECASE)


class Card(NamedTuple):
    """A card: its whole text, its first line after the id, its parts by their lower-case names.

    `defaults` are the environment's own arguments that have a literal default, such as `tasks`.
    """

    id: str
    text: str
    title: str
    parts: Mapping[str, str]
    defaults: Mapping[str, Any]

    @property
    def missing(self) -> list[str]:
        """The parts that a card must have and this one has not."""
        return [part for part in PARTS if not self.parts.get(part)]

    def first(self, part: str) -> str:
        """Return the first sentence of a part on one line, "" for one that is missing."""
        text = " ".join(self.parts.get(part, "").replace("`", "").split())
        return re.split(r"(?<=[.:])\s+(?=[A-Z(]|$)", text, maxsplit=1)[0].rstrip(".:")


def library_ids() -> list[str]:
    """Return the ids of the environments that come with the library."""
    assert qwq_env.__version__  # the ids exist once the package has been imported
    return sorted(spec.id for spec in gym.registry.values() if spec.namespace == "qwq")


def card_of(environment: str) -> Card:
    """Return the card of a registered id, `MODULE:id` for one that a module of yours registers.

    Raises `UsageError` for an id that is not registered.
    """
    module, colon, name = environment.rpartition(":")
    if colon:
        import_named(module, "environment")
    known = library_ids()
    spec = gym.registry.get(name)
    if spec is None or spec.entry_point is None:
        raise unknown("environment", environment, known)
    entry = spec.entry_point
    if not isinstance(entry, str):
        entry = f"{entry.__module__}:{getattr(entry, '__qualname__', '')}"
    module, _, attribute = entry.partition(":")
    tree = ast.parse(_source_of(module))
    text = ast.get_docstring(tree) or ""
    title = text.partition("\n")[0].partition("`: ")
    return Card(name, text, title[2] or title[0], _parts(text), _defaults(tree, attribute))


def _source_of(module: str) -> str:
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin is None or not Path(found.origin).is_file():
        raise UsageError(f"environment: {module} has no source file to read its card from")
    return Path(found.origin).read_text(encoding="utf-8")


def _parts(text: str) -> dict[str, str]:
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    found = {}
    for heading, end in zip(headings, ends, strict=False):
        word = heading[1].lower()
        name = next((part for part in PARTS if word.startswith(part.rstrip("s"))), word)
        found[name] = text[heading.end() : end].lstrip(": ").strip()
    return found


def _defaults(tree: ast.Module, name: str) -> dict[str, Any]:
    """Return the literal defaults of what makes the environment: a class, or a function."""
    makers = [node for node in tree.body if getattr(node, "name", None) == name]
    makers += [node for made in makers for node in getattr(made, "body", ())]
    for node in reversed(makers):
        if isinstance(node, ast.FunctionDef) and node.name in (name, "__init__"):
            wanted = node.args
            positional = wanted.args[len(wanted.args) - len(wanted.defaults) :]
            pairs = [*zip(positional, wanted.defaults, strict=True)]
            pairs += [
                (argument, default)
                for argument, default in zip(wanted.kwonlyargs, wanted.kw_defaults, strict=True)
                if default is not None
            ]
            constants = _constants(tree)
            known = [(a.arg, _Resolved(constants).visit(d)) for a, d in pairs]
            return {name: ast.literal_eval(value) for name, value in known if _is_literal(value)}
    return {}


class _Resolved(ast.NodeTransformer):
    """Puts a module's literal constants in place of their names."""

    def __init__(self, constants: Mapping[str, ast.expr]) -> None:
        self.constants = constants

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.constants.get(node.id, node)


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    found = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node.value
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
    return {name: value for name, value in found.items() if value and _is_literal(value)}


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True
