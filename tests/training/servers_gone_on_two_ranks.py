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


class Given(Policy):
    """Ends each turn of a rank as it is told to."""

    def __init__(self, end: QwqError | Generation) -> None:
        self._end = end

    async def generate(self, request):
        if isinstance(self._end, QwqError):
            raise self._end
        return self._end


def play_all(out: Path) -> None:
    """Play a step for each pair of ends; write how it ended to a file of the rank's."""
    config = GRPOConfig(use_cpu=True, bf16=False, max_completion_length=10, report_to=[])
    accelerator = Accelerator(cpu=True)  # after the configuration, which begins anew
    rank = accelerator.process_index
    gone, lost = ServersGone("http://a is gone"), InfrastructureError("no answer")
    said, full = Generation([65], [-0.5], "stop"), Generation([], [], "length")
    ends = {
        "gone": [gone, said], "lost": [lost, lost], "one lost": [lost, said],
        "full": [full, full], "one full": [full, said], "full and lost": [lost, full],
    }  # fmt: skip
    for kind, of_ranks in ends.items():
        (out / f"{kind} {rank}").write_text(play(accelerator, config, of_ranks[rank]))
    accelerator.wait_for_everyone()
    leave()


def play(accelerator: Accelerator, config: GRPOConfig, end: QwqError | Generation) -> str:
    env = ToolEnv(
        ListTaskSet([Task(f"t{i}", "Say a.", "a") for i in range(4)]),
        [],
        Rubric([Component("any", lambda final: 1.0)]),
    )
    rollouts = Rollouts(env, byte_tokenizer(), size=4, policy=lambda trainer: Given(end))
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
