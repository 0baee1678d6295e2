"""The peak memory of a computation, found without running it.

Tensors are traced in shape and dtype only (fake tensors, or on the meta device), so that the 13 B
model at full size is traced in seconds on any machine:

    with FakeTensorMode(), traced_memory(ignoring=weights) as memory:
        model(x)
    memory.peak_bytes

Counted are the bytes that PyTorch's allocator would hold, with its rounding. Fused CUDA kernels
count by their outputs: attention, RMS norm, and the layer norm that autocast runs in float32.
Workspaces of cuBLAS and cuDNN do not count.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROUNDING = 512  # bytes, of CUDA's caching allocator


class TracedMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that operations made and that are still referenced."""

    def __init__(self, ignoring: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = 0
        self._known = {_key(tensor) for tensor in ignoring}
        self._alive: dict[int, tuple[weakref.ref[torch.UntypedStorage], int]] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self._forget_dead()
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and _key(tensor) not in self._known:
                storage = tensor.untyped_storage()
                size = -(-storage.nbytes() // ROUNDING) * ROUNDING
                self._alive[_key(tensor)] = (weakref.ref(storage), size)
        self.peak_bytes = max(self.peak_bytes, sum(size for _, size in self._alive.values()))
        return result

    def _forget_dead(self) -> None:
        dead = [key for key, (storage, _) in self._alive.items() if storage() is None]
        for key in dead:
            del self._alive[key]


class FusedKernels(TorchFunctionMode):
    """Replaces operations that are one kernel on a GPU by their empty outputs."""

    def __init__(self, autocast: bool) -> None:
        super().__init__()
        self._autocast = autocast

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            queries, values = args[0], args[2]
            return queries.new_empty(*queries.shape[:-1], values.shape[-1])
        if func is F.rms_norm:
            return torch.empty_like(args[0])
        if func is F.layer_norm and self._autocast:
            return torch.empty_like(args[0], dtype=torch.float32)
        return func(*args, **(kwargs or {}))


@contextmanager
def traced_memory(
    ignoring: Iterable[Tensor] = (), *, autocast: bool = False
) -> Iterator[TracedMemory]:
    """Traces the block's operations; `ignoring` are tensors that existed before, such as weights.

    With `autocast` they run in mixed precision, bfloat16, as in the released sampler.
    """
    memory = TracedMemory(ignoring)
    precision = torch.autocast("cpu", torch.bfloat16, enabled=autocast)
    with torch.no_grad(), precision, FusedKernels(autocast), memory:
        yield memory


def _key(tensor: Tensor) -> int:
    key: int = tensor.untyped_storage()._cdata
    return key
