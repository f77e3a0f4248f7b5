"""What of a recipe fits on which GPUs, by arithmetic from the checkpoint's config alone.

All is bytes of one GPU at its fullest moment, the backward pass of the longest row. `P` are the
model's weights, `T` the tokens that go through it at a time. Sharded (fsdp2, zero3), a GPU holds a
share of weights, gradients and optimizer, and at a time the whole of the layers that it computes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from qwq_env.errors import UsageError, brief
from qwq_env.training.activations import gradient_bytes, layer_bytes
from qwq_env.training.gpus import GPUS, LARGEST, gpu_kind
from qwq_env.training.recipe import LoraRecipe, Recipe
from qwq_env.training.shapes import Shape, shape_of

GB: Final = 1e9
_RESERVED: Final = 3 * GB
"""CUDA's context, NCCL's buffers, what the allocator cannot hand out again."""
_SERVED_SHARE: Final = 0.9
"""vLLM's `--gpu-memory-utilization`."""
_HEAD_TILE: Final = 4096 * 32_768
"""Logits that TRL computes at a time; it never holds those of a row."""
_A_NODE: Final = 8
_LORA_RANK: Final = 64


class Gpus(NamedTuple):
    """So many GPUs of a kind."""

    number: int
    kind: str

    @property
    def bytes(self) -> float:
        """Memory of one."""
        return GPUS[self.kind] * GB


class Line(NamedTuple):
    """One thing that a GPU holds: how many bytes, and how they come about."""

    name: str
    bytes: float
    why: str


@dataclass(frozen=True, slots=True)
class Side:
    """What each of the GPUs holds that train, or that serve."""

    name: str
    gpus: int
    capacity: float
    lines: tuple[Line, ...]

    @property
    def used(self) -> float:
        """Bytes of one GPU."""
        return sum(line.bytes for line in self.lines)

    @property
    def too_much(self) -> Line | None:
        """The first line that does not fit beside those before it, if one does not."""
        left = self.capacity
        for line in self.lines:
            left -= line.bytes
            if left < 0:
                return line
        return None


class Change(NamedTuple):
    """A change after which all fits: what to say, and the sides then."""

    what: str
    sides: tuple[Side, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What fits, the episodes that the servers hold at a time, and else the nearest changes."""

    gpus: Gpus
    recipe: Recipe
    shape: Shape
    sides: tuple[Side, ...]
    episodes: int | None
    changes: tuple[Change, ...]

    @property
    def fits(self) -> bool:
        """Whether every GPU holds what it is to hold."""
        return _fit(self.sides)


def read_gpus(text: str) -> Gpus:
    """Read `8xH100`. Raises `UsageError`."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})\s*[x×*]\s*([A-Za-z0-9-]+)", text.strip())
    if match is None:
        raise UsageError(f"gpus: {brief(text)}; expected a number and a kind, such as 8xH100")
    return Gpus(int(match[1]), gpu_kind(match[2], "gpus"))


def gpus_of(recipe: Recipe) -> Gpus:
    """Return the GPUs that a recipe names. Raises `UsageError` if it names none."""
    cluster = recipe.cluster
    if not cluster.gpus or cluster.kind is None:
        raise UsageError("gpus: neither --gpus nor cluster.gpus and cluster.kind; expected 8xH100")
    return Gpus(cluster.nodes * cluster.gpus, gpu_kind(cluster.kind, "cluster.kind"))


def make_plan(recipe: Recipe, shape: Shape, gpus: Gpus) -> Plan:
    """Return the plan of a recipe on `gpus`, nodes of 8 (fewer are one node).

    Raises `UsageError` for a number of GPUs that cannot be such nodes, or that the recipe's
    episodes cannot be spread over.
    """
    placed = place(recipe, gpus.number)
    sides = sides_of(placed, shape, gpus)
    changes = () if _fit(sides) else tuple(_changes(placed, shape, gpus))
    return Plan(gpus, placed, shape, sides, episodes_at_a_time(placed, shape, gpus), changes)


def place(recipe: Recipe, count: int, serve: int | None = None, split: int | None = None) -> Recipe:
    """Return the recipe on `count` GPUs, of which `serve` serve: by default as many as it says,
    or half of them where that leaves none to train. An engine lies on `split` of them, by default
    `cluster.tensor_parallel`. The episodes grow to what can be spread.
    """
    node = min(count, _A_NODE)
    if count % node:
        raise UsageError(f"gpus: {count}; expected a multiple of {_A_NODE}, or fewer")
    cluster = recipe.cluster
    split = cluster.tensor_parallel if split is None else split
    engines = cluster.data_parallel if split == cluster.tensor_parallel else 1
    if recipe.policy.sampler == "transformers":
        serve = 0
    elif serve is None:
        serve = cluster.serve or split * engines
        if serve >= count:
            serve = max(count // 2 // split, 1) * split
    if recipe.policy.weights == "nccl" and serve:
        engines = max(serve // split, 1)  # TRL's connection has one address
    cluster = replace(
        cluster, nodes=count // node, gpus=node, serve=serve, tensor_parallel=split,
        data_parallel=engines,
    )  # fmt: skip
    unit = recipe.grpo.group * cluster.train
    episodes = -(-recipe.grpo.episodes // unit) * unit
    return replace(recipe, cluster=cluster, grpo=replace(recipe.grpo, episodes=episodes))


def check_fit(recipe: Recipe, origin: str | None = None) -> str | None:
    """Raise `UsageError` if the GPUs that the recipe asks for do not hold what it asks of them;
    return in a line what cannot be told of that here, None if all can.

    GPUs of a kind that is not said are refused if those of the largest that is known would not do.
    `origin` is the checkpoint that one which is still to be made has its shape from.
    """
    cluster, checkpoint = recipe.cluster, origin or recipe.policy.checkpoint
    if not cluster.gpus or checkpoint == "tiny":
        return None
    try:
        shape = shape_of(checkpoint)
    except UsageError as error:
        return f"whether the GPUs hold the policy is not known: {error}"
    if shape.positions is not None and recipe.grpo.context > shape.positions:
        raise UsageError(
            f"grpo.context: {recipe.grpo.context}; the checkpoint has positions for"
            f" {shape.positions}"
        )
    if cluster.kind is not None:
        _check_held(recipe, shape, gpus_of(recipe), checkpoint)
        return None
    number = cluster.nodes * cluster.gpus
    _check_held(recipe, shape, Gpus(number, LARGEST), checkpoint)
    held = [kind for kind in GPUS if _fit(sides_of(recipe, shape, Gpus(number, kind)))]
    if len(held) == len(GPUS):
        return None
    kinds = ", ".join(held)
    return f"cluster.kind: none; expected one of which {number} hold {checkpoint}: {kinds}"


def _check_held(recipe: Recipe, shape: Shape, gpus: Gpus, checkpoint: str) -> None:
    largest = "" if recipe.cluster.kind is not None else ", the largest kind that is known,"
    for side in sides_of(recipe, shape, gpus):
        if (line := side.too_much) is not None:
            nearest = next(_changes(recipe, shape, gpus), None)
            mend = "" if nearest is None else f"; it fits with {nearest.what}"
            raise UsageError(
                f"cluster: {gpus.number} × {gpus.kind}{largest} do not hold {checkpoint}:"
                f" a GPU that {side.name}s needs {side.used / GB:.1f} of {side.capacity / GB:.1f}"
                f" GB (too much from: {line.name}){mend}"
            )


def sides_of(recipe: Recipe, shape: Shape, gpus: Gpus) -> tuple[Side, ...]:
    """Return what a GPU that trains holds, and one that serves if any does."""
    cluster = recipe.cluster
    train = Side("train", cluster.train, gpus.bytes, tuple(_trained(recipe, shape)))
    if not cluster.serve:
        return (train,)
    served = gpus.bytes * _SERVED_SHARE
    return train, Side("serve", cluster.serve, served, tuple(_served(recipe, shape)))


def episodes_at_a_time(recipe: Recipe, shape: Shape, gpus: Gpus) -> int | None:
    """Return how many episodes of full length the servers' caches hold; None without servers."""
    cluster = recipe.cluster
    if not cluster.serve:
        return None
    fixed = sum(line.bytes for line in _served(recipe, shape)[:-1])
    engine = (gpus.bytes * _SERVED_SHARE - fixed) * cluster.tensor_parallel
    an_engine = max(int(engine // (cache_bytes(shape) * recipe.grpo.context)), 0)
    return an_engine * (cluster.serve // cluster.tensor_parallel)


def cache_bytes(shape: Shape, number: int = 2) -> int:
    """Return the bytes of the keys and values of one token, in numbers of so many bytes."""
    return shape.cache_values * number


def _trained(recipe: Recipe, shape: Shape) -> Iterator[Line]:
    cluster, grpo, lora = recipe.cluster, recipe.grpo, recipe.policy.lora
    number = computed_bytes(recipe)
    share = cluster.train if cluster.sharded else 1
    of = f" / {share} GPUs" if share > 1 else ""
    yield Line("reserved", _RESERVED, "CUDA's context, NCCL's buffers, fragments")
    trained = shape.parameters if lora is None else shape.lora_parameters(lora.rank)
    master = 4 if grpo.fp32_masters or lora is not None else number
    if lora is not None:
        frozen = shape.parameters * number / share
        yield Line("weights", frozen, f"{_billions(shape.parameters)} × {number} bytes{of}, frozen")
    name = "weights" if lora is None else "adapters"
    kinds = f"{_billions(trained)} × {master} bytes{of}"
    yield Line(name, trained * master / share, f"{kinds}, masters")
    yield Line("gradients", trained * master / share, kinds)
    yield Line("optimizer", 2 * trained * master / share, f"2 × {kinds}, AdamW's two moments")
    if grpo.beta and lora is None:
        yield Line("reference", shape.parameters * master / share, f"{kinds}, for grpo.beta")
    yield _working_weights(recipe, shape, number)
    yield from _activations(recipe, shape, number)
    head = shape.vocabulary * shape.hidden * 4 * (2 if lora is None else 1)
    tokens = grpo.pass_tokens(cluster.train)
    yield Line(
        "logits",
        head + tokens * shape.hidden * 4 + _HEAD_TILE * number,
        f"the head ({shape.vocabulary} × {shape.hidden} × 4 bytes)"
        f"{' and its gradient' if lora is None else ''}, the gradient of T hidden states, one tile:"
        " TRL never holds T × vocabulary",
    )
    if recipe.policy.sampler == "transformers":
        played = recipe.rollout
        slots = min(played.slots, played.concurrency, grpo.episodes // cluster.train)
        copied = recipe.policy.sampling_dtype == "computed"  # the schema refuses it with adapters
        if copied:
            yield Line(
                "sampler", shape.parameters * number, "the weights once more, to sample from"
            )
        size = cache_bytes(shape, number if copied or lora else master) * grpo.context
        yield Line("KV cache", slots * size, f"{slots} episodes sampled here × {grpo.context}")


def _working_weights(recipe: Recipe, shape: Shape, number: int) -> Line:
    if recipe.cluster.sharded:
        embeddings = shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
        whole = 3 * shape.layer_parameters + embeddings
        why = f"embeddings, two layers and a layer's gradient, whole, × {number} bytes"
        if recipe.policy.lora is not None:
            return Line("gathered", whole * number, why)
        added = shape.layer_parameters * 4
        return Line("gathered", whole * number + added, f"{why}, that once more × 4, to add up")
    copied = number == 2 and recipe.policy.lora is None and recipe.grpo.fp32_masters
    why = "the masters once more in bfloat16, for computing" if copied else "weights as they are"
    return Line("copy", shape.parameters * number if copied else 0, why)


def _activations(recipe: Recipe, shape: Shape, number: int) -> Iterator[Line]:
    grpo, tokens = recipe.grpo, recipe.grpo.pass_tokens(recipe.cluster.train)
    one_layer, in_flight = layer_bytes(shape, number), gradient_bytes(shape, number)
    whole, rest = divmod(tokens, grpo.context)
    named = f"T = {tokens}" if rest else f"T = {whole} × {grpo.context}"
    if not grpo.gradient_checkpointing:
        why = f"{named} × {shape.layers} layers × {one_layer:.0f} bytes"
        yield Line("activations", tokens * shape.layers * one_layer, why)
        yield Line("in flight", tokens * in_flight, f"{named} × {in_flight} bytes, gradients")
        return
    kept = shape.hidden * number
    why = f"{named} × {shape.layers} layers × {kept} bytes (each layer's input)"
    yield Line("activations", tokens * shape.layers * kept, why)
    yield Line("one layer", tokens * one_layer, f"{named} × {one_layer:.0f} bytes, recomputed")
    yield Line("in flight", tokens * in_flight, f"{named} × {in_flight} bytes, its gradients")


def _served(recipe: Recipe, shape: Shape) -> tuple[Line, ...]:
    split, context = recipe.cluster.tensor_parallel, recipe.grpo.context
    of = f" / {split} GPUs" if split > 1 else ""
    lines = [
        Line("reserved", _RESERVED, "CUDA's context, graphs, activations of a step"),
        Line("weights", shape.parameters * 2 / split, f"{_billions(shape.parameters)} × 2{of}"),
    ]
    if recipe.policy.lora is not None:
        adapters = shape.lora_parameters(recipe.policy.lora.rank)
        lines.append(Line("adapters", 2 * adapters * 2 / split, "the new one beside the old"))
    episode = cache_bytes(shape) * context / split
    why = f"one episode: {context} × {cache_bytes(shape)} bytes{of}; more fill what is left"
    return (*lines, Line("KV cache", episode, why))


def computed_bytes(recipe: Recipe) -> int:
    """Return the bytes of a number that is computed with, on a GPU."""
    return 4 if recipe.policy.dtype == "float32" else 2


def _fit(sides: tuple[Side, ...]) -> bool:
    return all(side.too_much is None for side in sides)


def _changes(recipe: Recipe, shape: Shape, gpus: Gpus) -> Iterator[Change]:
    """Yield the changes that make it fit, the nearest first; of each kind the smallest."""
    for candidates in (_cheaper(recipe), _splits(recipe, gpus), _shorter(recipe),
                       _adapters(recipe), _more(recipe, gpus)):  # fmt: skip
        for what, changed in candidates:
            sides = sides_of(changed, shape, gpus)
            if _fit(sides):
                yield Change(what, sides)
                break


def _cheaper(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    grpo = recipe.grpo
    said: list[str] = []
    if grpo.pass_tokens(recipe.cluster.train) > grpo.context:
        if grpo.micro_batch_tokens is None:
            said, grpo = ["grpo.micro_batch=1"], replace(grpo, micro_batch=1, accumulation=None)
        else:
            said = [f"grpo.micro_batch_tokens={grpo.context}"]
            grpo = replace(grpo, micro_batch_tokens=grpo.context)
        yield said[0], replace(recipe, grpo=grpo)
    if not grpo.gradient_checkpointing:
        grpo = replace(grpo, gradient_checkpointing=True)
        yield " ".join([*said, "grpo.gradient_checkpointing=true"]), replace(recipe, grpo=grpo)


def _frugal(recipe: Recipe) -> tuple[str, Recipe]:
    """Return the recipe with all that costs time only, after what that is (empty, or with a space
    behind it): what else is changed comes on top."""
    what, frugal = [("", recipe), *_cheaper(recipe)][-1]
    return f"{what} " if what else "", frugal


def _splits(recipe: Recipe, gpus: Gpus) -> Iterator[tuple[str, Recipe]]:
    """Yield other numbers of GPUs that serve, the nearest first, then wider engines."""
    cluster = recipe.cluster
    if not cluster.serve:
        return
    for split in _wider(recipe):
        for serve in sorted(range(split, gpus.number, split), key=lambda n: abs(n - cluster.serve)):
            try:
                changed = place(recipe, gpus.number, serve, split)
            except UsageError:
                continue  # an engine would lie on two nodes
            if changed.cluster != cluster:
                yield (
                    f"{_difference(recipe, changed)} ({changed.cluster.train} GPUs train)",
                    changed,
                )


def _wider(recipe: Recipe) -> list[int]:
    narrow = recipe.cluster.tensor_parallel
    return [narrow, *(split for split in (2, 4, 8) if split > narrow)]


def _difference(recipe: Recipe, changed: Recipe) -> str:
    """Return the overrides that make one of the other, as far as they lie in GPUs and episodes."""
    names = ("serve", "tensor_parallel", "data_parallel")
    said = [f"cluster.{name}={getattr(changed.cluster, name)}" for name in names
            if getattr(changed.cluster, name) != getattr(recipe.cluster, name)]  # fmt: skip
    if changed.grpo.episodes != recipe.grpo.episodes:
        said.append(f"grpo.episodes={changed.grpo.episodes}")
    return " ".join(said)


def _shorter(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    for eighths in (6, 4, 3, 2, 1):
        context = recipe.grpo.context * eighths // 8
        completion = min(recipe.grpo.max_completion_tokens, context)
        grpo = replace(recipe.grpo, context=context, max_completion_tokens=completion)
        first, frugal = _frugal(replace(recipe, grpo=grpo))
        yield f"{first}grpo.context={context}", frugal


def _adapters(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    if recipe.policy.lora is not None:
        return
    lora = LoraRecipe(rank=_LORA_RANK)
    said = ""
    more: dict[str, Any] = {"weights": "adapter", "served": "served"}
    if recipe.policy.sampler == "transformers":
        more = {"sampling_dtype": "same"}  # a copy to sample from would be one without them
        said = " policy.sampling_dtype=same" * (recipe.policy.sampling_dtype != "same")
    policy = replace(recipe.policy, lora=lora, **more)
    first, frugal = _frugal(recipe)
    yield f"{first}policy.lora (rank {_LORA_RANK}){said}", replace(frugal, policy=policy)


def _more(recipe: Recipe, gpus: Gpus) -> Iterator[tuple[str, Recipe]]:
    first = gpus.number // _A_NODE + 1
    for nodes in range(first, first + 16):
        for split in _wider(recipe) if recipe.cluster.serve else [1]:
            try:
                changed = place(recipe, nodes * _A_NODE, split=split)
            except UsageError:
                continue  # as many as serve cannot be split so
            said = _difference(recipe, changed)
            more = f" {said}" if said else ""
            yield f"{nodes * _A_NODE} GPUs{more} ({changed.cluster.train} train)", changed


def _billions(count: float) -> str:
    return f"{count / 1e9:.2f} B" if count >= 1e8 else f"{count / 1e6:.2f} M"
