"""The program that the host executes: `python -s -P -B launcher.py CONTROL`.

CONTROL is the number of the control socket, whose first message is the configuration: what
stands on a command line can be read by every program.

It runs in a clean environment, so nothing of the trainer's memory, descriptors or secrets is in
it. It loads the warm image, walls itself in, forks the zygote and waits, as long as the host
lives. Exit codes: 0 the host is gone, 3 this level cannot be had here (the reason on stderr).
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import types
from pathlib import Path
from typing import NoReturn

CANNOT = 3

MOST_CONFIG_BYTES = 128 << 10


def _import_without_the_package() -> None:
    """Make `qwq_env.sandbox.jail` importable without running the `__init__` of its parents."""
    sandbox = Path(__file__).resolve().parent.parent
    for name, place in (("qwq_env", sandbox.parent), ("qwq_env.sandbox", sandbox)):
        package = types.ModuleType(name)
        package.__path__ = [str(place)]
        sys.modules[name] = package


def _wait(zygote: int, host: int) -> None:
    """Wait until the host or the zygote is gone, and end the zygote."""
    poll = select.poll()
    poll.register(host, select.POLLIN)
    poll.register(os.pidfd_open(zygote), select.POLLIN)
    poll.poll()
    # The slots follow the zygote by their parent-death signal.
    os.kill(zygote, signal.SIGKILL)
    os.waitpid(zygote, 0)


def main() -> NoReturn:
    """Build the outer jail and become its door-keeper."""
    control = int(sys.argv[1])
    config = json.loads(os.read(control, MOST_CONFIG_BYTES)) | {"control": control}
    host = os.pidfd_open(config["host_pid"])
    if os.getppid() != config["host_pid"]:
        os._exit(0)
    _import_without_the_package()
    from qwq_env.sandbox.jail import removal, zygote  # noqa: PLC0415 -- only now it can be found

    try:
        zygote.warm_up(config["preload"], config["warm_up"])
        zygote.confine(config)
    except (OSError, NotImplementedError) as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(CANNOT)
    sys.argv, sys.orig_argv = [""], ["python", "program.py"]
    parent = os.getpid()
    child = os.fork()
    if child:
        os.close(config["control"])
        _wait(child, host)
        if not config["namespaces"]:
            # The host would, if it lives.
            removal.remove_tree(config["scratch"])
        os._exit(0)
    os.close(host)
    zygote.serve(config, parent)


if __name__ == "__main__":
    main()
