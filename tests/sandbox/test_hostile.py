"""The hostile programs, run by `battery.py`: as root with all that there is, and as an ordinary
user with the least that is called isolation.

`benchmarks/sandbox_hostile.py` runs them in every way to isolate; that each layer holds by itself
is `test_layers.py`'s.
"""

import os
import shutil
import subprocess

import pytest

from qwq_env.sandbox.levels import plans

from .batteries import OWN, run_battery
from .kernel import require

PLANS = [plan for plan in plans() if plan.level != "D"]
"""Every way to isolate that this kernel may offer, with and without namespaces."""


def name(plan):
    return "-".join(plan.layers)


def failures(folder, *arguments, plan, **how):
    require(plan)
    return run_battery(folder, "--plan", name(plan), *arguments, **how)


def needs_root_and_a_way_down():
    if os.geteuid() != 0:
        pytest.skip("is an ordinary user already")
    if not shutil.which("unshare") or not shutil.which("setpriv"):
        pytest.skip("util-linux is not here")
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")


@pytest.mark.slow
def test_nothing_gets_out():
    assert failures(OWN, "--cgroup", "auto", plan=PLANS[0]) == {}


@pytest.mark.slow
def test_nothing_gets_out_of_an_ordinary_users_sandbox():
    needs_root_and_a_way_down()

    assert failures(OWN, plan=PLANS[-1], nobody=True) == {}


@pytest.mark.slow
def test_the_given_programs(given_hostile):
    assert failures(given_hostile, "--preload", "--cgroup", "auto", plan=PLANS[0]) == {}


@pytest.mark.slow
def test_the_given_programs_as_an_ordinary_user(given_hostile):
    """Without namespaces."""
    needs_root_and_a_way_down()

    assert failures(given_hostile, "--preload", plan=PLANS[1], nobody=True) == {}


def test_the_battery_notices_what_gets_out():
    """The control: at level D the programs read the host's files, and the battery says so."""
    assert "read_the_host" in run_battery(OWN, "--level", "D", "--only", "read_the_host")
