"""`qwq launch`: every command of a recipe, and real processes that begin and end together."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from qwq_env.cli import main
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.training.launch import Job, Process, check_job, processes_of
from qwq_env.training.launch_run import environment_of, run_processes
from qwq_env.training.recipe import Recipe, load_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
SHIPPED = sorted(path.stem for path in RECIPES.glob("*.yaml"))


def job(name: str, *overrides: str) -> Job:
    path = RECIPES / f"{name}.yaml"
    recipe = load_recipe(path, overrides)
    hosts = tuple(f"host{number}" for number in range(recipe.cluster.nodes))
    return Job(path, recipe, overrides, hosts)


def said(process: Process, option: str) -> str:
    return process.command[process.command.index(option) + 1]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_dry_run_prints_every_command_of_a_shipped_recipe(name, capsys, monkeypatch):
    monkeypatch.syspath_prepend(RECIPES.parent / "examples")
    assert main(["launch", str(RECIPES / f"{name}.yaml"), "--dry-run"]) == 0
    printed = capsys.readouterr().out

    assert "  trainer" in printed
    assert "context: " in printed
    assert "micro-batches" in printed


def test_what_the_comments_of_a_recipe_offer_can_be_launched(capsys):
    """The first lines of qwq-32b.yaml name what is to be said for H200."""
    lines = (RECIPES / "qwq-32b.yaml").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("# H200: add ")]
    overrides = line.removeprefix("# H200: add ").split()
    assert main(["launch", str(RECIPES / "qwq-32b.yaml"), "--dry-run", *overrides]) == 0

    assert "context: 32768 tokens" in capsys.readouterr().out


def test_weights_through_a_folder_are_prepared_before_several_machines_begin(tmp_path):
    served = [f"policy.served={tmp_path / 'made'}", "policy.weights=disk"]
    with pytest.raises(UsageError, match=r"is not there; make it first: python -m qwq_env\.train"):
        processes_of(job("qwq-32b", *served))
    (tmp_path / "made").mkdir()

    assert processes_of(job("qwq-32b", *served))[0].kind == "prepare"


def test_three_machines_two_train_and_one_serves():
    wanted = job("qwq-32b")
    server, first, second = processes_of(wanted)

    assert [(p.kind, p.node, len(p.gpus)) for p in (server, first, second)] == [
        ("server", 2, 8), ("trainer", 0, 8), ("trainer", 1, 8),
    ]  # fmt: skip
    assert said(server, "--max-model-len") == str(wanted.recipe.grpo.context)
    assert said(server, "--logprobs-mode") == "processed_logprobs"
    assert said(server, "--weight-transfer-config") == '{"backend": "nccl"}'
    assert [said(p, "--machine_rank") for p in (first, second)] == ["0", "1"]
    assert {said(p, "--main_process_ip") for p in (first, second)} == {"host0"}
    assert first.command[-1] == 'policy.servers=["http://host2:8000"]'


def test_machines_with_unlike_numbers_of_trainers_count_as_several():
    found = processes_of(
        job("qwq-32b", "cluster.kind=H200", "cluster.nodes=2", "cluster.serve=4",
            "cluster.data_parallel=1", "grpo.episodes=384")
    )  # fmt: skip
    trainers = [p for p in found if p.kind == "trainer"]

    assert [(p.node, p.gpus) for p in trainers] == [
        (0, (0, 1, 2, 3)), (0, (4, 5, 6, 7)), (1, (0, 1, 2, 3)),
    ]  # fmt: skip
    assert [p.gpus for p in found if p.kind == "server"] == [(4, 5, 6, 7)]
    assert {said(p, "--num_machines") for p in trainers} == {"3"}


def test_adapters_are_served_and_several_servers_have_a_port_and_a_seed_each():
    overrides = ["cluster.tensor_parallel=2", "policy.lora.rank=48"]
    found = processes_of(job("qwq-32b-lora", *overrides))
    servers = [p for p in found if p.kind == "server"]

    assert [(p.gpus, p.url) for p in servers] == [
        ((4, 5), "http://host0:8000"), ((6, 7), "http://host0:8001"),
    ]  # fmt: skip
    assert {said(p, "--max-lora-rank") for p in servers} == {"64"}
    assert len({said(p, "--seed") for p in servers}) == 2
    assert servers[0].environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert "policy.lora.rank=48" in found[-1].command


@pytest.mark.parametrize("strategy", ["fsdp2", "zero3"])
def test_accelerate_takes_the_files_and_the_options(strategy):
    """Its own parser reads the command that would be run, and its own reader the file."""
    config = pytest.importorskip("accelerate.commands.config.config_args")
    launch = pytest.importorskip("accelerate.commands.launch")
    trainer = processes_of(job("qwq-32b-lora", f"cluster.strategy={strategy}"))[-1]
    words = list(trainer.command[trainer.command.index("--config_file") :])
    parsed = launch.launch_command_parser().parse_args(words)
    file = config.load_config_from_file(parsed.config_file)

    assert (parsed.num_processes, parsed.training_script) == (4, "qwq_env.training")
    assert file.distributed_type.value == {"fsdp2": "FSDP", "zero3": "DEEPSPEED"}[strategy]


def test_servers_on_a_laptop_start_on_a_folder_that_is_made_before(tmp_path):
    served = ["policy.sampler=vllm", "policy.served=made", f"policy.checkpoint={tmp_path}"]
    prepare, server, trainer = processes_of(job("tiny", *served))

    assert prepare.command[-2:] == (str(tmp_path), "made")
    assert said(server, "--model") == "made"
    assert "--enforce-eager" in server.command
    assert trainer.command[-1] == 'policy.servers=["http://host0:8000"]'
    with pytest.raises(UsageError, match="'tiny' is made by the run"):
        processes_of(job("tiny", *served[:2]))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--nodes", "2"], "16 × H100 do not hold Qwen/QwQ-32B"),
        (["--node", "3"], "node: 3; expected 0 or more, and a node below 3"),
        (["--hosts", "a,b"], "hosts: 2; expected 3"),
        ([], "hosts: none; expected --hosts with 3 names"),
        (["grpo.context=65536", "cluster.kind=B200"], "the checkpoint has positions for 40960"),
    ],
)
def test_what_cannot_be_launched_is_one_line(capsys, arguments, told):
    code = main(["launch", str(RECIPES / "qwq-32b.yaml"), *arguments])

    error = capsys.readouterr().err
    assert (code, len(error.splitlines())) == (2, 1)
    assert told in error


def test_a_port_that_is_taken_is_named(weight_server):
    wanted = job("qwq-32b-lora")
    found = processes_of(Job(wanted.path, wanted.recipe, (), ("127.0.0.1",)))
    taken = [Process("server-0", "server", 0, (), (), {}, weight_server.url)]
    with pytest.raises(UsageError, match="is taken; expected a free port"):
        check_job(taken, wanted.recipe, ports=True)

    assert check_job(found, wanted.recipe, ports=False)[0] == "GPUs: 8 of 8, none twice"


def test_the_ports_of_trainers_are_tried_as_those_of_servers_are(weight_server):
    taken, free = int(weight_server.url.rpartition(":")[2]), free_port()

    def trainers(*overrides: str) -> tuple[list[Process], Recipe]:
        wanted = job("qwq-32b", *overrides)
        return [p for p in processes_of(wanted) if p.kind == "trainer"], wanted.recipe

    met, weights = f"cluster.port={free - 1000}", "grpo.trl.vllm_group_port"
    for overrides, told in (
        ([f"cluster.port={taken - 1000}"], f"cluster.port: {taken - 1000}: {taken}, where the t"),
        ([met, f"{weights}={taken}"], f"{weights}: {taken} is taken; expected a free port"),
        ([met, f"{weights}=99999"], f"{weights}: 99999; expected a port, 1 to 65535"),
    ):
        with pytest.raises(UsageError, match=re.escape(told)):
            check_job(*trainers(*overrides), ports=True)

    lines = check_job(*trainers(f"cluster.port={taken - 1000}"), ports=False)
    assert f"trainers: they meet at port {taken} and 51216" in lines


def test_a_script_for_slurm_runs_the_same_on_each_machine(capsys):
    assert main(["launch", str(RECIPES / "qwq-32b.yaml"), "--slurm", "seed=3"]) == 0
    script = capsys.readouterr().out

    assert script.startswith("#!/bin/bash\n#SBATCH --job-name=qwq-32b\n")
    assert "#SBATCH --nodes=3\n" in script
    assert 'seed=3 --hosts "$HOSTS" --node "$SLURM_NODEID"' in script


SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *arguments): pass
open(sys.argv[2], 'w').write(str(os.getpid()))
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
"""


def python(name: str, kind: str, code: str, *words: str, url: str | None = None) -> Process:
    return Process(name, kind, 0, (), (sys.executable, "-S", "-c", code, *words), {}, url)


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def ended(path: Path) -> bool:
    try:
        os.kill(int(path.read_text()), 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("code", [0, 3])
def test_trainers_begin_once_servers_answer_and_all_end_with_them(tmp_path, code):
    port, pid, told = free_port(), tmp_path / "pid", []
    url = f"http://127.0.0.1:{port}"
    server = python("server-0", "server", SERVER, str(port), str(pid), url=url)
    trainer = python("trainer", "trainer", f"raise SystemExit({code})")
    result = run_processes([server, trainer], 0, wait_seconds=60, say=told.append)

    assert result == code
    assert ended(pid)
    assert [line.partition(":")[0] for line in told] == [
        "server-0", "http", "trainer", f"trainer ended with {code}",
    ]  # fmt: skip


def test_a_server_that_ends_first_ends_everything(tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    server = python("server-0", "server", "raise SystemExit(7)", url=url)
    trainer = python("trainer", "trainer", "open('never', 'w')")
    with pytest.raises(InfrastructureError, match="server-0 ended with 7 before it served"):
        run_processes([server, trainer], 0, wait_seconds=60, say=lambda line: None)

    silent = python("server-0", "server", "import time; time.sleep(60)", url=url)
    with pytest.raises(InfrastructureError, match="does not serve after 0 seconds"):
        run_processes([silent, trainer], 0, wait_seconds=0, say=lambda line: None)


def test_a_signal_to_the_launcher_ends_what_it_started(tmp_path):
    pid = tmp_path / "pid"
    code = (
        "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid()));"
        "os.kill(os.getppid(), 15); time.sleep(60)"
    )
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run_processes(
            [python("trainer", "trainer", code, str(pid))], 0, wait_seconds=1, say=lambda line: None
        )

    assert ended(pid)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_a_process_starts_leaves_none(tmp_path, monkeypatch, number):
    pid = tmp_path / "pid"

    class Slow(subprocess.Popen):
        """Starts at once and takes its time to say so."""

        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            pid.write_text(str(self.pid))
            os.kill(os.getpid(), number)

    monkeypatch.setattr(subprocess, "Popen", Slow)
    with pytest.raises(KeyboardInterrupt):
        run_processes(
            [python("trainer", "trainer", "import time; time.sleep(60)")], 0,
            wait_seconds=1, say=lambda line: None,
        )  # fmt: skip

    assert ended(pid)


def test_a_second_signal_does_not_keep_the_first_from_ending_all(tmp_path):
    """The trainer takes a second to end, and tells its launcher to end once more meanwhile."""
    pid = tmp_path / "pid"
    code = (
        "import os, signal, sys, time; parent = os.getppid();"
        "signal.signal(15, lambda *_: (os.kill(parent, 15), time.sleep(1), os._exit(0)));"
        "open(sys.argv[1], 'w').write(str(os.getpid())); os.kill(parent, 15); time.sleep(60)"
    )
    with pytest.raises(KeyboardInterrupt):
        run_processes(
            [python("trainer", "trainer", code, str(pid))], 0, wait_seconds=1, say=lambda line: None
        )

    assert ended(pid)


@pytest.mark.slow
def test_on_a_laptop_the_trainer_is_run(tmp_path):
    small = [
        "cold_start.steps=1", "cold_start.batch=4", "cold_start.transcripts=64",
        "grpo.steps=1", "grpo.episodes=16",
        "grpo.max_completion_tokens=24", "evaluation.tasks=4", "evaluation.samples=1",
    ]  # fmt: skip
    arguments = ["launch", str(RECIPES / "tiny.yaml"), "--runs", str(tmp_path), *small]

    assert main(arguments) == 0
    assert (tmp_path / "tiny" / "summary.json").exists()


def test_gpus_are_among_those_that_were_given(monkeypatch):
    """A scheduler says by the variable which are ours; to others they are 2 and 7."""
    server = Process("server-0", "server", 0, (1,), ("vllm",), {"CUDA_VISIBLE_DEVICES": "1"})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert environment_of(server)["CUDA_VISIBLE_DEVICES"] == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-7")
    assert environment_of(server)["CUDA_VISIBLE_DEVICES"] == "GPU-7"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    with pytest.raises(UsageError, match="CUDA_VISIBLE_DEVICES: '2'; server-0 needs 2 GPUs"):
        environment_of(server)
    assert environment_of(replace(server, gpus=(), environment={}))["CUDA_VISIBLE_DEVICES"] == "2"
