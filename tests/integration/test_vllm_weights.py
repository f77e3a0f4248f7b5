"""Weights and adapters on a real server, whether it computes what the trainer does, its death."""

from __future__ import annotations

import copy
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM

from qwq_env.cli import main
from qwq_env.evaluation.numerics_sampler import check_checkpoint
from qwq_env.rollout.vllm_policy import VllmPolicy
from qwq_env.training.weights.adapter import ADAPTER, AdapterWeightSync

from .conftest import CONTEXT, math_environment
from .greedy import greedy_of_model, greedy_of_server, trainer_of

TASKS = 64
EVERY_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="module")
def takes_adapters(cpu_servers, policy_checkpoint) -> Iterator[str]:
    with cpu_servers.serve(policy_checkpoint, context=CONTEXT, lora_rank=8) as url:
        yield url


def check_numerics(checkpoint, url):
    return check_checkpoint(
        str(checkpoint), math_environment(), url=url, context=CONTEXT, episodes=4, width=512
    )


def test_numerics_of_a_server_are_those_of_the_trainer(served, policy_checkpoint):
    report = check_numerics(policy_checkpoint, served.url)

    assert report.faults == []
    assert report.total.tokens > 100
    assert served.url in report.sampler


def test_server_with_other_weights_is_red(served, policy_checkpoint, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(policy_checkpoint, dtype=torch.float32)
    with torch.no_grad():
        model.model.layers[-1].mlp.down_proj.weight *= 1.2
    model.save_pretrained(tmp_path)
    for path in policy_checkpoint.glob("tokenizer*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    report = check_numerics(tmp_path, served.url)

    assert "mean difference" in report.faults[0]


def test_adapters_served_in_turn_are_the_merged_model(takes_adapters, policy_checkpoint, tmp_path):
    peft = pytest.importorskip("peft")
    model = AutoModelForCausalLM.from_pretrained(policy_checkpoint, dtype=torch.float32)
    base = greedy_of_model(model)
    wanted = peft.LoraConfig(r=4, lora_alpha=8, target_modules=EVERY_LINEAR, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(model, wanted)
    sync = AdapterWeightSync(tmp_path / "adapters", takes_adapters)
    torch.manual_seed(0)
    seen = [base]
    for step in (1, 2):
        with torch.no_grad():
            for name, weight in adapted.named_parameters():
                if "lora" in name:
                    weight.normal_(std=0.3)
        pushed = sync.push(trainer_of(adapted, step))
        served = greedy_of_server(VllmPolicy(takes_adapters, adapter=ADAPTER))
        merged = greedy_of_model(copy.deepcopy(adapted).merge_and_unload())

        assert pushed.servers == (takes_adapters,)
        assert served == merged
        assert served not in seen
        seen.append(served)
    assert greedy_of_server(VllmPolicy(takes_adapters)) == base


def test_server_that_is_killed_ends_the_run_and_another_finishes_it(
    takes_adapters, served, policy_checkpoint, tmp_path, capsys
):
    """The last test of the server that takes adapters."""
    out = tmp_path / "out"
    arguments = [
        "eval", "qwq/MathTool-v0", "--checkpoint", str(policy_checkpoint), "--tasks", str(TASKS),
        "--concurrency", "4", "--tools", "calculator", "--context", str(CONTEXT),
        "--completion", "24", "--turn-tokens", "24", "--out", str(out),
    ]  # fmt: skip
    killed: list[float] = []
    told = (takes_adapters, out / "episodes.jsonl", killed)
    killer = threading.Thread(target=kill_midway, args=told)
    killer.start()
    code = main([*arguments, "--vllm", takes_adapters])
    ended = time.monotonic()
    killer.join()

    before = (out / "episodes.jsonl").read_text().splitlines()
    error = capsys.readouterr().err.splitlines()[-1]
    assert code == 1
    # 10 on an idle machine; the tests share theirs.
    assert ended - killed[0] < 60
    assert takes_adapters in error and f"{len(before)} of {TASKS} episodes are stored" in error
    assert 8 <= len(before) < TASKS

    assert main([*arguments, "--vllm", served.url, "--resume"]) == 0
    after = (out / "episodes.jsonl").read_text().splitlines()
    assert after[: len(before)] == before
    assert len(after) == len({json.loads(line)["episode"] for line in after}) == TASKS
    assert json.loads((out / "summary.json").read_text())["lost"] == {}


def kill_midway(url: str, episodes: Path, killed: list[float]) -> None:
    """Kill the server and all that it started, without a word, once some episodes have ended."""
    port = int(url.rsplit(":", 1)[1])
    [group] = {
        os.getpgid(connection.pid)
        for connection in psutil.net_connections("tcp4")
        if connection.laddr.port == port and connection.status == psutil.CONN_LISTEN
    }
    while not episodes.exists() or episodes.read_bytes().count(b"\n") < 8:
        time.sleep(0.01)
    os.killpg(group, signal.SIGKILL)
    killed.append(time.monotonic())
