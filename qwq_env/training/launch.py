"""Every process that a recipe needs: servers, trainers, on which GPUs of which machine, and how.

Trainers take the first GPUs, servers the last. `accelerate` starts as many processes on each of
its machines; where the trainers of two machines differ in number, a machine counts as several.
"""

from __future__ import annotations

import json
import math
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from qwq_env.errors import UsageError, brief
from qwq_env.training.recipe import Recipe

_LORA_RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as `--max-lora-rank`."""
_TRAINER_PORT: Final = 1000
"""How far the trainers' port lies above the first server's."""
_WEIGHTS_PORT: Final = 51_216
"""Where NCCL begins on the first trainer, if `grpo.trl.vllm_group_port` is not said (TRL's own)."""
_GPU_MEMORY: Final = "0.9"


@dataclass(frozen=True, slots=True)
class Process:
    """One command on one machine. `url` is where a server answers `/health` once it serves."""

    name: str
    kind: Literal["prepare", "server", "trainer"]
    node: int
    gpus: tuple[int, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None

    def shell(self) -> str:
        """Return it as a line for a shell."""
        said = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join([*said, shlex.join(self.command)])


@dataclass(frozen=True, slots=True)
class Job:
    """What is started: a recipe's file, its overrides, the machines, and options of `qwq train`.

    `recipe` is that of the `stage`, "" where there are none: servers begin with its source.
    """

    path: Path
    recipe: Recipe
    overrides: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ("127.0.0.1",)
    options: tuple[str, ...] = ()
    vllm_python: str = sys.executable
    stage: str = ""


def processes_of(job: Job) -> list[Process]:
    """Return all processes of all machines, in the order in which they begin.

    Raises `UsageError` for machines that are not as many as the recipe's, and for a recipe that
    cannot be launched.
    """
    nodes = job.recipe.cluster.nodes
    if len(job.hosts) != nodes:
        raise UsageError(f"hosts: {len(job.hosts)}; expected {nodes}, as many as cluster.nodes")
    servers = _servers(job)
    urls = [server.url for server in servers if server.url is not None]
    return [*_prepare(job, servers), *servers, *_trainers(job, urls)]


def _servers(job: Job) -> list[Process]:
    recipe, cluster = job.recipe, job.recipe.cluster
    policy = recipe.policy
    if policy.sampler == "transformers" or policy.servers:
        return []
    if policy.checkpoint == "tiny":
        raise UsageError("policy.checkpoint: 'tiny' is made by the run; servers need one before it")
    if not cluster.gpus:
        return [_server(job, 0, 0, (), cluster.port)]
    size = cluster.tensor_parallel * cluster.data_parallel
    found: list[Process] = []
    for number, first in enumerate(range(cluster.train, cluster.nodes * cluster.gpus, size)):
        node = first // cluster.gpus
        gpus = tuple(range(first % cluster.gpus, first % cluster.gpus + size))
        port = cluster.port + sum(server.node == node for server in found)
        found.append(_server(job, number, node, gpus, port))
    if policy.weights == "nccl" and len(found) > 1:
        raise UsageError(
            f"policy.weights: 'nccl' with {len(found)} servers; expected one, for TRL's connection"
            f" has one address (cluster.tensor_parallel × data_parallel = {cluster.serve})"
        )
    return found


def _server(job: Job, number: int, node: int, gpus: tuple[int, ...], port: int) -> Process:
    recipe, cluster, policy = job.recipe, job.recipe.cluster, job.recipe.policy
    model = policy.served if policy.weights == "disk" else policy.checkpoint
    assert model is not None  # the schema asks for it
    alone = cluster.nodes == 1
    command = [
        job.vllm_python, "-m", "vllm.entrypoints.openai.api_server", "--model", model,
        "--host", "127.0.0.1" if alone else job.hosts[node], "--port", str(port),
        "--max-model-len", str(recipe.grpo.context), "--logprobs-mode", "processed_logprobs",
        "--enable-prefix-caching", "--seed", str(recipe.seed + number),
    ]  # fmt: skip
    environment = {"VLLM_SERVER_DEV_MODE": "1"}  # opens the routes by which weights come in
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
        command += ["--dtype", "float32" if policy.dtype == "float32" else "bfloat16",
                    "--gpu-memory-utilization", _GPU_MEMORY,
                    "--tensor-parallel-size", str(cluster.tensor_parallel)]  # fmt: skip
        if cluster.data_parallel > 1:
            command += ["--data-parallel-size", str(cluster.data_parallel)]
    else:
        environment["VLLM_CPU_KVCACHE_SPACE"] = "1"
        command += ["--dtype", "float32", "--enforce-eager"]
    if policy.weights == "nccl":
        command += ["--weight-transfer-config", json.dumps({"backend": "nccl"})]
    if policy.lora is not None:
        environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
        command += ["--enable-lora", "--max-lora-rank", str(_served_rank(policy.lora.rank))]
    url = f"http://{job.hosts[node]}:{port}"
    name = f"server-{number}"
    return Process(name, "server", node, gpus, tuple(command), environment, url)


def _served_rank(rank: int) -> int:
    found = next((each for each in _LORA_RANKS if each >= rank), None)
    if found is None:
        raise UsageError(f"policy.lora.rank: {rank}; vLLM serves at most {_LORA_RANKS[-1]}")
    return found


def _prepare(job: Job, servers: Sequence[Process]) -> list[Process]:
    policy = job.recipe.policy
    if not servers or policy.weights != "disk":
        return []
    assert policy.served is not None  # the schema asks for it
    module = "qwq_env.training.prepare"
    command = (sys.executable, "-m", module, policy.checkpoint, policy.served)
    if job.recipe.cluster.nodes > 1 and not Path(policy.served).is_dir():
        # The servers of other machines would begin before it is there.
        line = shlex.join(("python", *command[1:]))
        raise UsageError(f"policy.served: {policy.served} is not there; make it first: {line}")
    return [Process("prepare", "prepare", servers[0].node, (), command)]


def _trainers(job: Job, urls: Sequence[str]) -> list[Process]:
    cluster = job.recipe.cluster
    overrides = [*job.overrides]
    if urls:
        overrides.append(f"policy.servers={json.dumps(list(urls))}")
    arguments = [str(job.path), *overrides, *job.options]
    if cluster.train <= 1:
        command = (sys.executable, "-m", "qwq_env.training", *arguments)
        environment = {"CUDA_VISIBLE_DEVICES": "0"} if cluster.gpus else {}
        return [
            Process("trainer", "trainer", 0, (0,) if cluster.gpus else (), command, environment)
        ]
    on_node = [min(max(cluster.train - node * cluster.gpus, 0), cluster.gpus)
               for node in range(cluster.nodes)]  # fmt: skip
    size = math.gcd(*on_node)
    machines = cluster.train // size
    config = accelerate_file(job.path, cluster.strategy)
    found = []
    for rank, first in enumerate(range(0, cluster.train, size)):
        node, local = first // cluster.gpus, first % cluster.gpus
        gpus = tuple(range(local, local + size))
        precision = "no" if job.recipe.policy.dtype == "float32" else "bf16"
        command = (
            sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config),
            "--num_processes", str(cluster.train), "--num_machines", str(machines),
            "--machine_rank", str(rank), "--mixed_precision", precision,
            "--main_process_ip", job.hosts[0],
            "--main_process_port", str(cluster.port + _TRAINER_PORT),
            "-m", "qwq_env.training", *arguments,
        )  # fmt: skip
        environment = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))}
        name = "trainer" if machines == 1 else f"trainer-{rank}"
        found.append(Process(name, "trainer", node, gpus, command, environment))
    return found


def accelerate_file(recipe: Path, strategy: str) -> Path:
    """Return accelerate's settings for a strategy, which lie beside the recipe."""
    path = recipe.parent / "accelerate" / f"{strategy}.yaml"
    if not path.is_file():
        raise UsageError(f"cluster.strategy: {strategy!r} needs {path}, which is not there")
    return path


def check_job(processes: Sequence[Process], recipe: Recipe, *, ports: bool) -> list[str]:
    """Return a line for each thing that was checked. Raises `UsageError` for the first wrong one.

    `ports` asks whether all that servers and trainers listen on are free on this machine.
    """
    held: set[tuple[int, int]] = set()
    for process in processes:
        mine = {(process.node, gpu) for gpu in process.gpus}
        outside = [gpu for gpu in process.gpus if gpu >= recipe.cluster.gpus]
        if outside or held & mine:
            raise UsageError(f"launch: {process.name}: GPUs {process.gpus} of node {process.node}")
        held |= mine
    urls = [process.url for process in processes if process.url is not None]
    listened = list(_listened(processes, recipe))
    taken = [what for what, host, port in listened if ports and not _free(host, port)]
    if taken:
        raise UsageError(f"{taken[0]} is taken; expected a free port")
    meet = [str(port) for _, host, port in listened if not host]
    grpo, world = recipe.grpo, max(recipe.cluster.train, 1)
    rows = grpo.rows(world)
    batches = grpo.episodes // world // rows
    length = ", which is each server's --max-model-len"
    served = f"servers: {len(urls)}, each with an address of its own{' that is free' * ports}"
    return [
        f"GPUs: {len(held)} of {recipe.cluster.nodes * recipe.cluster.gpus}, none twice",
        served if urls else "servers: none is started here",
        *([f"trainers: they meet at port {' and '.join(meet)}{', free' * ports}"] if meet else []),
        f"batch: {grpo.episodes} episodes = {grpo.episodes // grpo.group} groups of {grpo.group}"
        f" = {world} processes × {batches} micro-batches × {rows} rows, at most"
        f" {grpo.pass_tokens(world)} tokens at a time",
        f"context: {grpo.context} tokens{length * bool(urls)}",
        f"limits: a request ends within {recipe.limits.request_seconds:g} seconds, in order",
    ]


def _listened(processes: Sequence[Process], recipe: Recipe) -> Iterator[tuple[str, str, int]]:
    """Yield each port that is listened on: the key that says it, with its value, the host ("" for
    every address of the machine) and the port. Raises `UsageError` for one that is none."""
    for process in processes:
        if process.url is not None:
            host, _, port = process.url.removeprefix("http://").rpartition(":")
            yield f"cluster.port: {process.url}", host, int(port)
    first = next((process for process in processes if process.kind == "trainer"), None)
    if first is None:
        return
    if "--main_process_port" in first.command:
        meet = int(first.command[first.command.index("--main_process_port") + 1])
        yield f"cluster.port: {recipe.cluster.port}: {meet}, where the trainers meet,", "", meet
    if recipe.policy.sampler == "vllm" and recipe.policy.weights == "nccl":
        begins = int(recipe.grpo.trl.get("vllm_group_port", _WEIGHTS_PORT))
        if not 0 < begins < 65_536:
            raise UsageError(f"grpo.trl.vllm_group_port: {begins}; expected a port, 1 to 65535")
        yield f"grpo.trl.vllm_group_port: {begins}", "", begins


def _free(host: str, port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError:
            return False
    return True


def slurm_script(jobs: Sequence[Job]) -> str:
    """Return a batch script that runs `qwq launch` on each machine of an allocation, for each of
    the stages of a recipe.

    When the trainers end, `--wait` ends the machines that only serve.
    """
    recipe = jobs[0].recipe
    if not _plain(recipe.name):
        raise UsageError(f"name: {brief(recipe.name)}; expected plain letters for SLURM")
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={recipe.name}",
        f"#SBATCH --nodes={recipe.cluster.nodes}",
        "#SBATCH --ntasks-per-node=1",
        f"#SBATCH --gpus-per-node={recipe.cluster.gpus}",
        "#SBATCH --exclusive",
        *["set -e"] * (len(jobs) > 1),
        'HOSTS=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | paste -sd,)',
        "export HOSTS",
    ]
    for job in jobs:
        inner = shlex.join(["qwq", "launch", str(job.path), *job.overrides, *job.options])
        line = shlex.quote(inner + ' --hosts "$HOSTS" --node "$SLURM_NODEID"')
        lines += [
            "srun --ntasks-per-node=1 --kill-on-bad-exit=1 --wait=60 bash -c \\",
            f"  {line}",
        ]
    return "\n".join([*lines, ""])


def _plain(name: str) -> bool:
    """Whether a name can stand in a shell script as it is."""
    return name == shlex.quote(name)
