"""Modules that an operator names, such as `mine` of `mine:own/Bank-v0`, and packages of an extra.

Where one is missing, the error says which, and what brings it: it may be the module itself, or
what it imports, or a part of this library.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from qwq_env.errors import UsageError, brief, describe_error, did_you_mean


@contextlib.contextmanager
def heavy_imports() -> Iterator[None]:
    """Import torch, and what is on it, in a third less of the time, and let go of it in none.

    These imports make objects by the hundred thousand, and nothing of it is garbage: it is not
    searched for any meanwhile, nor later, nor where the interpreter ends.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.freeze)


def import_named(module: str, field: str) -> ModuleType:
    """Import a module that the operator named in `field`.

    Raises `UsageError` where it, or what it imports, is not there, where it is not Python, and for
    whatever it raises; the cause of the error has its traceback.
    """
    if module.endswith(".py") or "/" in module:
        meant = module.removesuffix(".py").strip("./").replace("/", ".")
        raise UsageError(f"{field}: {brief(module)} is a file; expected its module, {meant}")
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UsageError(f"{field}: {why_missing(module, error)}") from None
    except (ImportError, ValueError, TypeError) as error:
        raise UsageError(f"{field}: {brief(module)}: {error}") from None
    except SyntaxError as error:
        place = f"{error.filename}, line {error.lineno}"
        raise UsageError(f"{field}: {brief(module)}: {place}: {error.msg}") from None
    except SystemExit as error:
        raise UsageError(
            f"{field}: {brief(module)} ends the program where it is imported{_place(error)}; put"
            " what is to be run behind: if __name__ == '__main__'"
        ) from None
    except Exception as error:
        told = describe_error(error)
        raise UsageError(f"{field}: {brief(module)}{_place(error)}: {told:.300}") from error


def _place(error: BaseException) -> str:
    """Return where an error was raised, the innermost line."""
    lines = traceback.extract_tb(error.__traceback__)
    return f" ({lines[-1].filename}, line {lines[-1].lineno})" if lines else ""


def named(text: str, field: str) -> Any:
    """Return what `MODULE:NAME` names; a dot in NAME leads into a class.

    Raises `UsageError` for another form, for a module as above, and for a name that it has not.
    """
    module, colon, name = text.partition(":")
    if not (colon and module and name):
        raise UsageError(f"{field}: {brief(text)}; expected MODULE:NAME")
    found: Any = import_named(module, field)
    for part in name.split("."):
        if not hasattr(found, part):
            own = [each for each in vars(found) if not each.startswith("_")]
            raise UsageError(
                f"{field}: {brief(text)}: {module} has no {part!r}{did_you_mean(part, own)};"
                " expected MODULE:NAME"
            )
        found = getattr(found, part)
    return found


def why_missing(what: str, error: ModuleNotFoundError) -> str:
    """Return what is missing where `what`, a module or an id, was imported, and what brings it."""
    name = error.name or what
    if _is_ours(error):
        return f"{what}: {error}: qwq-env has no such part, or {_AGAIN}"
    top = name.partition(".")[0]
    here = any((Path.cwd() / each).exists() for each in (f"{top}.py", top))
    if what != name and not what.startswith(f"{name}."):
        mend = f"install it, or put PYTHONPATH={'.' if here else 'its folder'} in front"
        return f"{what} imports {name!r}, which is not found; {mend}"
    if here and top == name:
        mend = "it lies in this folder, which Python does not search; put PYTHONPATH=. in front"
    else:
        mend = "expected one that Python finds; put PYTHONPATH=FOLDER, where it lies, in front"
    return f"{error}; {mend}"


def missing_extra(error: ModuleNotFoundError, extra: str) -> UsageError:
    """Return the error for a package that was not found where those of `extra` are imported."""
    if _is_ours(error):
        return UsageError(f"{error.name} is missing from this installation of qwq-env; {_AGAIN}")
    return UsageError(f"{error.name or error} is not installed; pip install 'qwq-env[{extra}]'")


@contextlib.contextmanager
def current_folder() -> Iterator[None]:
    """Let modules of the current folder be found, behind all others, as long as this lasts.

    Not where Python was told to be safe from it (`-P`, `PYTHONSAFEPATH`).
    """
    folder = ""
    with contextlib.suppress(OSError):  # it may have been deleted
        folder = str(Path.cwd())
    if sys.flags.safe_path or not folder or folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


_AGAIN = "install it again"


def _is_ours(error: ModuleNotFoundError) -> bool:
    return (error.name or "").partition(".")[0] == "qwq_env"
