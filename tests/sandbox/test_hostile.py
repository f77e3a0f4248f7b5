"""The hostile programs, run by `battery.py` in each way to isolate, as root and as a user."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qwq_env.sandbox.levels import plans

from .kernel import require

HERE = Path(__file__).parent
OWN = HERE / "hostile"
PLANS = [plan for plan in plans() if plan.level != "D"]
"""Every way to isolate that this kernel may offer, with and without namespaces."""

GIVEN_PLANS = PLANS[:2]
"""The strongest with namespaces, and the strongest without."""

# Shows an interpreter that lies in root's closed home to everybody, in a mount namespace of its
# own, and goes on as nobody.
AS_NOBODY = """
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


def closed_folder(path: Path) -> str:
    """The outermost folder on the way to `path` that only its owner may enter."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & 0o001:
            return str(folder)
    return "none"


def name(plan):
    return "-".join(plan.layers)


def run_battery(*arguments, plan=None, nobody=False):
    if plan is not None:
        require(plan)
        arguments = (*arguments, "--plan", name(plan))
    command = [sys.executable, str(HERE / "battery.py"), *map(str, arguments)]
    if nobody:
        prefix = Path(sys.base_prefix).resolve()
        command = [
            "unshare", "-m", "sh", "-c", AS_NOBODY, "sh", closed_folder(prefix), str(prefix),
            *command,
        ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ran"] > 0
    return report["failures"]


def needs_root_and_a_way_down():
    if os.geteuid() != 0:
        pytest.skip("is an ordinary user already")
    if not shutil.which("unshare") or not shutil.which("setpriv"):
        pytest.skip("util-linux is not here")
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")


@pytest.mark.slow
@pytest.mark.parametrize("plan", PLANS, ids=name)
def test_nothing_gets_out(plan):
    assert run_battery(OWN, plan=plan) == {}


@pytest.mark.slow
def test_nothing_gets_out_with_control_groups():
    assert run_battery(OWN, "--cgroup", "auto", plan=PLANS[0]) == {}


@pytest.mark.slow
@pytest.mark.parametrize("plan", [PLANS[0], PLANS[-1]], ids=name)
def test_nothing_gets_out_of_an_ordinary_users_sandbox(plan):
    needs_root_and_a_way_down()

    assert run_battery(OWN, plan=plan, nobody=True) == {}


@pytest.mark.slow
@pytest.mark.parametrize("plan", GIVEN_PLANS, ids=name)
@pytest.mark.parametrize("cgroup", ["off", "auto"])
def test_the_given_programs(given_hostile, plan, cgroup):
    failures = run_battery(given_hostile, "--preload", "--cgroup", cgroup, plan=plan)

    assert failures == {}


@pytest.mark.slow
@pytest.mark.parametrize("plan", GIVEN_PLANS, ids=name)
def test_the_given_programs_as_an_ordinary_user(given_hostile, plan):
    needs_root_and_a_way_down()

    failures = run_battery(given_hostile, "--preload", plan=plan, nobody=True)

    assert failures == {}


def test_the_battery_notices_what_gets_out():
    """The control: at level D the programs read the host's files, and the battery says so."""
    failures = run_battery(OWN, "--level", "D", "--only", "read_the_host")

    assert "read_the_host" in failures
