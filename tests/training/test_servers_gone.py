"""A training whose servers died ends, on every rank; it takes no empty steps."""

from __future__ import annotations

import socket

import pytest

from qwq_env.cli import main
from qwq_env.errors import InfrastructureError, ServersGone
from qwq_env.rollout.vllm_policy import HttpSettings, VllmPolicy
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.tiny.model import build_tiny_model

from ..ranks import run_ranks
from . import servers_gone_on_two_ranks
from .stock_trainer import train
from .test_rollouts import environment, scripted


def test_stock_trainer_ends_when_its_server_is_gone(tokenizer, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    settings = HttpSettings(grace=0.1)
    rollouts = Rollouts(
        environment(), tokenizer, policy=lambda trainer: VllmPolicy(url, settings=settings)
    )
    with pytest.raises(ServersGone, match=url):
        train(build_tiny_model(tokenizer, hidden=32), tokenizer, tmp_path, rollouts)
    rollouts.close()


def test_step_of_which_nothing_is_left_ends_the_training(tokenizer, tmp_path):
    def no_turn(context: str) -> str:
        raise InfrastructureError("the sandbox is gone")

    with pytest.raises(InfrastructureError, match=r"all episodes of a step.*sandbox is gone"):
        train(
            build_tiny_model(tokenizer, hidden=32),
            tokenizer,
            tmp_path,
            scripted(tokenizer, no_turn),
        )


@pytest.mark.slow
def test_ranks_end_together(tmp_path):
    run_ranks(servers_gone_on_two_ranks.play_all, tmp_path, folder=tmp_path)

    for kind, expected in (
        ("gone", "ServersGone: http://a is gone"),
        ("lost", "InfrastructureError: all episodes of a step were lost"),
        ("one lost", "played"),
        ("full", "UsageError: context: 32768 tokens"),
        ("one full", "played"),
        ("full and lost", "UsageError: context: 32768 tokens"),
    ):
        assert [(tmp_path / f"{kind} {rank}").read_text()[: len(expected)] for rank in "01"] == [
            expected
        ] * 2


@pytest.mark.parametrize("kind", [ServersGone, InfrastructureError])
def test_command_says_how_to_go_on(monkeypatch, tmp_path, capsys, kind):
    def gone(*arguments, **named):
        raise kind("no server is left")

    monkeypatch.setattr("qwq_env.training.run.train", gone)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: x\n")

    assert main(["train", str(recipe)]) == 1
    assert capsys.readouterr().err == (
        "qwq: failed: no server is left; the same command with --resume goes on\n"
    )
