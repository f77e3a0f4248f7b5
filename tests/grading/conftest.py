"""One math grader for the tests of this folder: its processes import SymPy once."""

import pytest

from qwq_env.grading.math import MathGrader


@pytest.fixture(scope="session")
def grader():
    with MathGrader() as grader:
        yield grader
