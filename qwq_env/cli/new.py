"""`qwq new env NAME`, `qwq new tool NAME`: a working example to begin from, with its test."""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import re
import sys
from pathlib import Path

from qwq_env.errors import UsageError, brief

_TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
_LONGEST = 40
_NEXT = {
    "env": """\
next: python -m pytest test_{name}.py
      qwq check {name}:own/{camel}-v0
      qwq envs {name}:own/{camel}-v0
      qwq train {name}.yaml
then make it yours: tasks, tools, reward, solve, and what the first lines say of them""",
    "tool": """\
next: python -m pytest test_{name}.py
      qwq check {name}:{name}
then make it yours, and give it to an environment: ToolEnv(tasks, [{name}], rubric)""",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq new`."""
    parser = subparsers.add_parser(
        "new",
        help="begin an environment or a tool of your own",
        description="Writes NAME.py and test_NAME.py into the current folder, and NAME.yaml, a"
        " recipe, beside an environment: a whole small example that runs, passes its test and can"
        " be trained in. Files that are there stay.",
    )
    parser.add_argument("kind", choices=["env", "tool"])
    parser.add_argument("name", help="of its module: lower-case letters, digits, underscores")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write all files, or none."""
    kind, name = arguments.kind, arguments.name
    check_name(name)
    files = {Path(path): written(path, kind, name) for path in files_of(kind, name)}
    for path in files:
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} is there already; expected a name that is free")
    check_free(name)
    for path, text in files.items():
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    print(f"written: {', '.join(map(str, files))}")
    print(_NEXT[kind].format(name=name, camel=_camel(kind, name)))
    return 0


def files_of(kind: str, name: str) -> list[str]:
    """Return the names of the files to write."""
    return [f"{name}.py", f"test_{name}.py", *([f"{name}.yaml"] if kind == "env" else [])]


def check_name(name: str) -> None:
    """Raise `UsageError` for what could not be the name of a module, and of a tool."""
    if re.fullmatch(r"[a-z][a-z0-9_]*", name) and not keyword.iskeyword(name):
        if len(name) <= _LONGEST and not name.startswith("test_"):
            return
        limit = f"at most {_LONGEST} characters, and no test_ in front"
        raise UsageError(f"name: {brief(name)}; expected {limit}")
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[: 2 * _LONGEST])
    nearest = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
    hint = f", such as {nearest}" if re.fullmatch(r"[a-z][a-z0-9_]*", nearest) else ""
    if keyword.iskeyword(nearest):
        hint = f", such as my_{nearest}"
    expected = "lower-case letters, digits and underscores, as Python's modules have"
    raise UsageError(f"name: {brief(name)}; expected {expected}{hint}")


def check_free(name: str) -> None:
    """Raise `UsageError` for the name of a module that there is: it would stand in its place."""
    if name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        raise UsageError(f"name: {name!r} is a module already; expected another, such as my_{name}")


def written(path: str, kind: str, name: str) -> str:
    """Return the text of a file: that of the template, with this name."""
    template = f"template_{kind}"
    source = dict(zip(files_of(kind, name), files_of(kind, template), strict=True))[path]
    text = (_TEMPLATES / source).read_text(encoding="utf-8")
    text = text.replace(f"from qwq_env.templates.{template}", f"\nfrom {name}")
    # Where it is written this library is one as any other, and stands in their block of imports.
    text = re.sub(r"(gymnasium.*\n)\n(?=(?:from|import) qwq_env)", r"\1", text)
    return text.replace(template, name).replace("TemplateEnv", _camel(kind, name))


def _camel(kind: str, name: str) -> str:
    """Return the name of the class, and of the id."""
    words = "".join(word.capitalize() for word in name.removesuffix("_env").split("_"))
    return f"{words}Env" if kind == "env" else words
