"""Runs `battery.py` as a program of its own, as this user or as nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
OWN = HERE / "hostile"

# Shows an interpreter that lies in root's closed home to everybody, in a mount namespace of its
# own, and goes on as nobody.
_AS_NOBODY = """
set -e
closed=$1 prefix=$2; shift 2
stage=$(mktemp -d)
mount --bind "$prefix" "$stage"
[ "$closed" = none ] || {
    mount -t tmpfs -o mode=755 none "$closed"
    mkdir -p "$prefix"
    mount --bind "$stage" "$prefix"
}
umount -l "$stage"; rmdir "$stage"
exec setpriv --reuid 65534 --regid 65534 --clear-groups \\
    env -i PATH=/usr/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$PYTHONPATH" "$@"
"""


def run_battery(folder: Path, *arguments: str, nobody: bool = False) -> dict[str, list[str]]:
    """Run the programs of a folder; return those that did what they must not, and what it was."""
    command = [sys.executable, str(HERE / "battery.py"), str(folder), *arguments]
    if nobody:
        prefix = Path(sys.base_prefix).resolve()
        shown = [_closed_folder(prefix), str(prefix)]
        command = ["unshare", "-m", "sh", "-c", _AS_NOBODY, "sh", *shown, *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ran"] > 0
    return dict(report["failures"])


def _closed_folder(path: Path) -> str:
    """Return the outermost folder on the way to `path` that only its owner may enter."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & 0o001:
            return str(folder)
    return "none"
