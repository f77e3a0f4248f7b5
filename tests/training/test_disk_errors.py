"""A disk that takes no more: one line, and what was there is gone on with."""

from __future__ import annotations

import resource
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import save_file

from qwq_env.errors import InfrastructureError
from qwq_env.training.disk_errors import disk_errors


@contextmanager
def full_disk():
    """Let no file grow beyond a page, as on a disk that is full; pytest's own neither."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("save", [lambda w, path: save_file({"w": w}, path), torch.save])
def test_weights_that_find_no_room_are_an_error_of_ours(tmp_path, save):
    weights = torch.zeros(100_000)
    ours = pytest.raises(InfrastructureError, match=r"^weights: .")
    with ours as caught, full_disk(), disk_errors():
        save(weights, tmp_path / "weights")

    assert "\n" not in str(caught.value)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match=r"^mine$"), disk_errors():
        raise RuntimeError("mine")
