"""What each of two ranks does for `test_servers_gone.py`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from accelerate import Accelerator
from trl import GRPOConfig

from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, QwqError, ServersGone
from qwq_env.rollout.policy import Generation, Policy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.training.rollouts import Rollouts

from ..byte_tokenizer import byte_tokenizer
from ..ranks import leave


class Failing(Policy):
    """Samples nothing, each rank as it is told to; None ends the turn at once."""

    def __init__(self, error: QwqError | None) -> None:
        self._error = error

    async def generate(self, request):
        if self._error is not None:
            raise self._error
        return Generation([65], [-0.5], "stop")


def play_all(out: Path) -> None:
    """Play a step for each kind of failure; write how it ended to a file of the rank's."""
    config = GRPOConfig(use_cpu=True, bf16=False, max_completion_length=10, report_to=[])
    accelerator = Accelerator(cpu=True)  # after the configuration, which begins anew
    rank = accelerator.process_index
    gone, lost = ServersGone("http://a is gone"), InfrastructureError("no answer")
    errors = {"gone": [gone, None], "lost": [lost, lost], "one lost": [lost, None]}
    for kind, of_ranks in errors.items():
        (out / f"{kind} {rank}").write_text(play(accelerator, config, of_ranks[rank]))
    accelerator.wait_for_everyone()
    leave()


def play(accelerator: Accelerator, config: GRPOConfig, error: QwqError | None) -> str:
    env = ToolEnv(
        ListTaskSet([Task(f"t{i}", "Say a.", "a") for i in range(4)]),
        [],
        Rubric([Component("any", lambda final: 1.0)]),
    )
    rollouts = Rollouts(env, byte_tokenizer(), size=4, policy=lambda trainer: Failing(error))
    trainer = SimpleNamespace(
        accelerator=accelerator,
        add_callback=lambda callback: None,
        state=SimpleNamespace(global_step=0),
        args=config,
        model=SimpleNamespace(training=True),
        eval_dataset=None,
    )
    try:
        rollouts([row["prompt"] for row in rollouts.dataset], trainer)
    except QwqError as caught:
        return f"{type(caught).__name__}: {caught}"
    return "played"
