"""Two ranks: both write, one tells the servers, and neither goes on alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from qwq_env.training.tiny.model import build_tiny_model
from qwq_env.training.weights.disk import prepare_served

from ..ranks import run_ranks
from . import weight_sync_on_two_ranks


def push(tokenizer, path: Path, url: str, kind: str = "ddp") -> list[str]:
    """Push weights that are 1 larger on two ranks; return what each of them made of it."""
    served, out = path / "served", path / "out"
    out.mkdir()
    model = build_tiny_model(tokenizer, hidden=16, heads=2, layers=1)
    prepare_served(model, tokenizer, served)
    run_ranks(weight_sync_on_two_ranks.push, served, url, out, kind, folder=path)
    return [(out / rank).read_text() for rank in "01"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_both_ranks_write_and_one_tells_the_server(tokenizer, tmp_path, weight_server, kind):
    pushed = push(tokenizer, tmp_path, weight_server.url, kind)

    before = build_tiny_model(tokenizer, hidden=16, heads=2, layers=1).state_dict()
    shares = [load_file(path) for path in sorted((tmp_path / "served").glob("*.safetensors"))]
    after = {name: weight for share in shares for name, weight in share.items()}
    version = AutoModelForCausalLM.from_pretrained(tmp_path / "served" / "v000007")
    assert pushed == ["pushed 7 to 1", "pushed 7 to 1"]
    assert [path for path, *_ in weight_server.seen].count("/collective_rpc") == 1
    assert [len(share) > 0 for share in shares] == [True, True]
    assert after.keys() == before.keys()
    assert torch.equal(version.lm_head.weight, after["lm_head.weight"])
    assert all(torch.equal(after[name], before[name] + 1) for name in before)


@pytest.mark.slow
def test_failure_of_the_one_stops_both(tokenizer, tmp_path, weight_server):
    weight_server.answers["/collective_rpc"] = (500, {"error": {"message": "Worker failed"}})
    first, second = push(tokenizer, tmp_path, weight_server.url)

    assert first == second
    assert "Worker failed" in first


@pytest.mark.slow
def test_weights_that_cannot_be_written_stop_both(tokenizer, tmp_path, weight_server):
    first, second = push(tokenizer, tmp_path, weight_server.url, "full disk")

    assert first == second
    assert first.startswith("weights: ")
    assert weight_server.seen == []
    assert not list((tmp_path / "served").glob("v0*"))
