"""A recipe's section `cluster`: the GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qwq_env.errors import UsageError
from qwq_env.training.gpus import gpu_kind
from qwq_env.training.recipe.key import key


@dataclass(frozen=True, slots=True)
class ClusterRecipe:
    """The GPUs: how many, which of them train and which serve. Without any it is a laptop.

    Trainers take the first GPUs, servers the last `serve` of them. One server has
    `tensor_parallel` × `data_parallel` GPUs of one node.
    """

    nodes: int = key(1, "machines", positive=True)
    gpus: int = key(0, "GPUs of a machine; 0: CPU")
    kind: str | None = key(None, "of GPU, such as H100: what does not fit there is refused")
    serve: int = key(0, "how many of all GPUs serve; the others train")
    strategy: Literal["ddp", "fsdp2", "zero3"] = key("ddp", "how the model lies on the trainers")
    tensor_parallel: int = key(1, "GPUs over which a server's engine is split", positive=True)
    data_parallel: int = key(1, "engines of one server", positive=True)
    port: int = key(8000, "the first server's; the trainers' is 1000 higher", positive=True)

    def __post_init__(self) -> None:
        if self.kind is not None:
            gpu_kind(self.kind, "cluster.kind")
        total, engine = self.nodes * self.gpus, self.tensor_parallel * self.data_parallel
        if self.gpus == 0:
            for name in ("nodes", "kind", "serve", "tensor_parallel", "data_parallel", "strategy"):
                default = ClusterRecipe.__dataclass_fields__[name].default
                if getattr(self, name) != default:
                    raise UsageError(
                        f"cluster.{name}: {getattr(self, name)}; expected {default} without GPUs"
                        " (cluster.gpus)"
                    )
        elif self.serve >= total:
            raise UsageError(
                f"cluster.serve: {self.serve}; expected less than all {total} GPUs: some must train"
            )
        if self.serve == 0 and engine > 1:
            raise UsageError(
                f"cluster.serve: 0; expected GPUs for tensor_parallel × data_parallel ({engine})"
            )
        if self.serve and (self.serve % engine or engine > self.gpus or self._straddles(engine)):
            raise UsageError(
                f"cluster.serve: {self.serve}; expected servers of tensor_parallel × data_parallel"
                f" ({engine}) GPUs, each on one node of {self.gpus}"
            )
        if self.port > 64_000:
            raise UsageError(f"cluster.port: {self.port}; expected at most 64000")

    def _straddles(self, engine: int) -> bool:
        first = self.train
        starts = range(first, first + self.serve, engine)
        return any(start // self.gpus != (start + engine - 1) // self.gpus for start in starts)

    @property
    def train(self) -> int:
        """How many GPUs train."""
        return self.nodes * self.gpus - self.serve

    @property
    def sharded(self) -> bool:
        """Whether no process has the whole model."""
        return self.strategy != "ddp"
