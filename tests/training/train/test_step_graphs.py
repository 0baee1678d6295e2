"""What a step's graph is given: its arguments, in copies that stay in place."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from training.train.step_graphs import StepGraphs, copied


@dataclass(frozen=True, slots=True)
class Inner:
    a: Tensor
    missing: Tensor | None


@dataclass(frozen=True, slots=True)
class Outer:
    inner: Inner
    count: int
    b: Tensor


def outer() -> Outer:
    return Outer(Inner(torch.arange(3.0).expand(2, 3), None), 4, torch.ones(2))


def test_a_copy_equals_its_original_and_has_memory_of_its_own():
    value = outer()
    copy, (b,) = copied((value, (value.b,)))
    assert b.data_ptr() not in (value.b.data_ptr(), copy.b.data_ptr())
    assert copy.count == 4
    assert copy.inner.missing is None
    assert torch.equal(copy.inner.a, value.inner.a)
    copy.inner.a[0] = 9  # repeats of an expanded tensor are apart
    assert torch.equal(copy.inner.a[1], value.inner.a[1])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_gradients_by_graph_equal_those_of_a_call():
    weight = torch.randn(3, 3, device="cuda", requires_grad=True)

    def step(value: Outer) -> tuple[Tensor, ...]:
        loss = (value.inner.a @ weight).square().sum() + value.b.sum()
        return torch.autograd.grad(loss, [weight])

    graphs = StepGraphs(step)
    for rows in (2, 5, 2):
        value = Outer(Inner(torch.randn(rows, 3, device="cuda"), None), 4, weight.detach()[0])
        torch.testing.assert_close(graphs(value)[0], step(value)[0])
