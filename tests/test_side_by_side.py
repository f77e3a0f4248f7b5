"""`pytest --processes`: every test runs once, whatever becomes of the process that it is in."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CONFTEST = f"""
import sys
sys.path.insert(0, {str(TESTS.parent)!r})
import pytest
from tests import side_by_side

def pytest_runtestloop(session):
    return side_by_side.play(session, 2)
"""
INI = "[pytest]\nasyncio_default_fixture_loop_scope=function\n"
FILES = {
    "test_passes.py": "import pytest\n\n"
    "@pytest.mark.parametrize('number', range(50))\ndef test_one(number): assert number < 50\n",
    "test_fails.py": "def test_right(): pass\ndef test_wrong(): assert 1 == 2\n",
    "test_crashes.py": "import os\n\ndef test_before(): pass\ndef test_dies(): os._exit(3)\n"
    "def test_behind(): pass\n",
    "test_setup.py": "import pytest\n\n@pytest.fixture\ndef broken(): raise ValueError\n\n"
    "def test_broken(broken): pass\n\ndef test_skipped(): pytest.skip('not here')\n",
    "test_warns.py": "import warnings\n\ndef test_warns(): warnings.warn('look at this')\n",
    "test_module_fixture.py": "import pytest\n\nMADE = []\n\n@pytest.fixture(scope='module')\n"
    "def made():\n    MADE.append(1)\n    yield\n    MADE.clear()\n\n"
    "def test_first(made): assert MADE == [1]\n\ndef test_second(made): assert MADE == [1]\n",
}


@pytest.fixture
def played(tmp_path):
    def play(*options):
        for name, source in {"conftest.py": CONFTEST, **FILES}.items():
            (tmp_path / name).write_text(source)
        (tmp_path / "pytest.ini").write_text(INI)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert not done.stderr
        return done.returncode, done.stdout

    return play


def test_each_outcome_is_told_once(played):
    code, said = played()

    assert code == 1
    assert "2 failed, 56 passed, 1 skipped, 1 warning, 1 error in " in said.splitlines()[-1]
    assert "assert 1 == 2" in said
    assert "look at this" in said
    assert "its process ended with 3" in said
    assert said.count("PASSED test_crashes.py::test_behind") == 1


def test_the_first_failure_ends_all(played):
    code, said = played("-x")

    assert code == 1
    assert "stopping after 1 failures" in said
