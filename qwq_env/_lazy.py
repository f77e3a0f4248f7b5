"""The public names of a package, each imported when it is first asked for (PEP 562).

Why: `from qwq_env import ToolEnv` is what one wants to write, and `import qwq_env` must not load
torch, jsonschema or an HTTP client for it. A package says its names twice: to type checkers, which
do not run it, as imports, and to Python as a table. The tests hold the two against each other.

```python
if TYPE_CHECKING:
    from qwq_env.env import ToolEnv as ToolEnv
else:
    __all__, __getattr__, __dir__ = lazy_exports(__name__, {"env": "ToolEnv"})
```
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec


class Exports(NamedTuple):
    """What a package with lazy names needs at its top level."""

    names: list[str]
    getattr: Callable[[str], Any]
    dir: Callable[[], list[str]]


def lazy_exports(package: str, modules: Mapping[str, str]) -> Exports:
    """Return `__all__`, `__getattr__` and `__dir__` of `package`.

    `modules` maps a module inside it to the names that it gives, parted by spaces; those of `""`
    are modules themselves, and a dot in front stands for the package around it. A function may
    have a submodule's name (`tool`): then the package's attribute is the function, also after the
    submodule was imported.
    """
    sources = {name: module for module, names in modules.items() for name in names.split()}
    own = sys.modules[package]

    class Package(ModuleType):
        def __setattr__(self, name: str, value: Any) -> None:
            # The import system binds a submodule to its package, over an export of that name.
            if not (sources.get(name) and value is sys.modules.get(f"{package}.{name}")):
                super().__setattr__(name, value)

    def load(name: str) -> Any:
        if name not in sources:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f".{sources[name] or name}", package)
        value = getattr(module, name) if sources[name] else module
        setattr(own, name, value)
        return value

    own.__class__ = Package
    return Exports(list(sources), load, lambda: sorted({*vars(own), *sources}))


def when_imported(name: str, then: Callable[[], None]) -> None:
    """Call `then` once the module `name` is imported: at once if it is.

    So something can be registered with a package that takes long to import, and that who asks for
    nothing of it shall not wait for.
    """
    if name in sys.modules:
        then()
    else:
        sys.meta_path.insert(0, _Waiting(name, then))


class _Waiting:
    """Finds one module by those that stand behind it, and calls `then` when that has been run."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._name, self._then = name, then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        found = (finder.find_spec(fullname, path, target) for finder in sys.meta_path)
        spec = next(filter(None, found), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self._then()

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
