"""The peak of matrix products: what the report has. No rate is asserted."""

import torch

from benchmarks.random_weights.matmul_peak import peak_tflops, run
from benchmarks.random_weights.model_speed import SIZES
from benchmarks.random_weights.random_model import WindowSize


def test_every_precision_has_a_peak() -> None:
    for precision in ("fp32", "bf16", "fp8"):
        assert peak_tflops(torch.device("cpu"), precision, side=32) > 0


def test_the_share_is_the_rate_reached_over_the_peak() -> None:
    size = WindowSize(2, 4, 4, text_tokens=4)
    values = run(torch.get_num_threads(), SIZES["tiny"], size, side=64)
    share = values["reached, GFLOP/s"] / values["float32 peak, GFLOP/s"]
    assert abs(values["share of the peak"] - share) < 1e-9
