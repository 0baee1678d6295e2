"""A transformer larger than the GPU: its blocks stay in host memory and take turns on the device.

    offload = LayerOffload(dit, turns_of(dit), device)
    ...                              # call the model as usual, with inputs on `device`
    offload.close()

The device has two slots of the size of the largest part. While one part computes, the part that
followed it last time is copied into the other slot, on its own CUDA stream. Host memory is pinned
if the device is a GPU, and weights mapped from a file release its pages when they are packed. On a
CPU the slots are ordinary memory and the copies are synchronous, with the same results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import torch
from torch import Tensor, nn

from runtime.models.dit.dit import DiT
from runtime.weights.mapped_pages import release_pages

ALIGNMENT = 256  # bytes; as CUDA's own allocator, and enough for every kernel


def turns_of(dit: DiT) -> list[nn.Module]:
    """The parts of the transformer that take turns, in the order of their first use.

    Modulations are separate parts: they are needed once a step, their blocks once a window.
    """
    doubles, singles = list(dit.double_blocks), list(dit.single_blocks)
    modulations = chain.from_iterable((block.img_mod, block.txt_mod) for block in doubles)
    return [*modulations, *(block.modulation for block in singles), *doubles, *singles]


class LayerOffload:
    """Moves the weights of `parts` in and out of the device around their forward calls.

    A part inside another part moves separately. All other weights of the model move to the device
    and stay there. Weights must not be replaced while this is in use.
    """

    def __init__(self, model: nn.Module, parts: Sequence[nn.Module], device: torch.device) -> None:
        self._copies = HostCopies(device)
        own = [_own_tensors(part, set(parts) - {part}) for part in parts]
        moving = {id(tensor) for tensor in chain.from_iterable(own)}
        for tensor in chain(model.parameters(), model.buffers()):
            if id(tensor) not in moving:
                tensor.data = tensor.data.to(device)
        size = max(map(_packed_bytes, own))
        self._slots = [Slot(torch.empty(size, dtype=torch.uint8, device=device)) for _ in range(2)]
        self._parts = [Part.pack(tensors, self._slots, device) for tensors in own]
        self._followers: dict[int, int] = {}  # by part: the one that came after it last time
        self._latest: int | None = None
        self._used = 0  # the slot used last
        self._hooks = [
            hook
            for index, part in enumerate(parts)
            for hook in (
                part.register_forward_pre_hook(partial(self._enter, index)),
                part.register_forward_hook(partial(self._leave, index), always_call=True),
            )
        ]

    def close(self) -> None:
        """Ends the turns; the parts' weights are in host memory, and the slots are freed."""
        for hook in self._hooks:
            hook.remove()
        for slot in self._slots:
            self._copies.wait(slot.copied)
        self._slots = []

    def _enter(self, index: int, *_: object) -> None:
        if self._latest is not None:
            self._followers[self._latest] = index
        self._latest = index
        number = self._holder(index)
        if number is None:
            number = self._fetch(index)
        self._copies.wait(self._slots[number].copied)
        self._parts[index].move_to(number)
        self._used = number
        following = self._followers.get(index)
        if following is not None and self._holder(following) is None:
            self._fetch(following)

    def _leave(self, index: int, *_: object) -> None:
        self._parts[index].move_home()
        self._slots[self._used].computed = self._copies.mark()

    def _holder(self, index: int) -> int | None:
        return next((n for n, slot in enumerate(self._slots) if slot.part == index), None)

    def _fetch(self, index: int) -> int:
        """Starts the copy into the slot that was not used last."""
        number = 1 - self._used
        slot, part = self._slots[number], self._parts[index]
        slot.copied = self._copies.copy(slot.memory, part.packed, slot.computed)
        slot.part = index
        return number


@dataclass(slots=True)
class Slot:
    """Memory on the device, the part in it, and the ends of its last copy and its last use."""

    memory: Tensor  # uint8
    part: int | None = None
    copied: torch.cuda.Event | None = None
    computed: torch.cuda.Event | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Weights that move to the device together."""

    tensors: list[Tensor]  # the model's own; their `data` is in host memory or in a slot
    packed: Tensor  # uint8, in host memory
    at_home: list[Tensor]  # views of `packed`
    in_slots: list[list[Tensor]]  # views of each slot

    @classmethod
    def pack(cls, tensors: list[Tensor], slots: Sequence[Slot], device: torch.device) -> Part:
        packed = torch.empty(
            _packed_bytes(tensors), dtype=torch.uint8, pin_memory=device.type == "cuda"
        )
        part = cls(
            tensors, packed, _views(packed, tensors), [_views(s.memory, tensors) for s in slots]
        )
        for tensor, home in zip(tensors, part.at_home, strict=True):
            home.copy_(tensor.data)
            release_pages(tensor.data)
        part.move_home()
        return part

    def move_home(self) -> None:
        for tensor, home in zip(self.tensors, self.at_home, strict=True):
            tensor.data = home

    def move_to(self, slot: int) -> None:
        for tensor, there in zip(self.tensors, self.in_slots[slot], strict=True):
            tensor.data = there


class HostCopies:
    """Copies from host memory, concurrent with the computation; synchronous on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def copy(
        self, target: Tensor, source: Tensor, after: torch.cuda.Event | None
    ) -> torch.cuda.Event | None:
        """Copies `source` to the beginning of `target` once `after` is reached."""
        if self._stream is None:
            target[: len(source)].copy_(source)
            return None
        with torch.cuda.stream(self._stream):
            if after is not None:
                self._stream.wait_event(after)
            target[: len(source)].copy_(source, non_blocking=True)
            copied: torch.cuda.Event = self._stream.record_event()
        return copied

    def mark(self) -> torch.cuda.Event | None:
        """An event at this point of the computation."""
        if self._stream is None:
            return None
        now: torch.cuda.Event = torch.cuda.current_stream(self._device).record_event()
        return now

    def wait(self, event: torch.cuda.Event | None) -> None:
        """Makes the computation wait for the event; the host does not wait."""
        if event is not None:
            torch.cuda.current_stream(self._device).wait_event(event)


def _own_tensors(part: nn.Module, others: set[nn.Module]) -> list[Tensor]:
    """Parameters and buffers of a part, without those of other parts inside it."""
    inside = [module for module in part.modules() if module in others]
    theirs = {id(t) for module in inside for t in chain(module.parameters(), module.buffers())}
    return [t for t in chain(part.parameters(), part.buffers()) if id(t) not in theirs]


def _packed_bytes(tensors: Sequence[Tensor]) -> int:
    return sum(_aligned(tensor.nbytes) for tensor in tensors)


def _views(memory: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """One view of `memory` for each tensor, of its shape and dtype."""
    views, start = [], 0
    for tensor in like:
        room = memory[start : start + tensor.nbytes]
        views.append(room.view(tensor.dtype).view(tensor.shape))
        start += _aligned(tensor.nbytes)
    return views


def _aligned(count: int) -> int:
    return -(-count // ALIGNMENT) * ALIGNMENT
