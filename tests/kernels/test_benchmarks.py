"""The benchmarks of the kernels: ways that are compared agree, sizes are the planned ones, and nothing runs on red."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.dense_reference import encode_dense
from hulumed_platform.model.config import VisionConfig
from kernel_benchmarks import attention, encoders
from kernel_benchmarks.cases import Case, cases
from kernel_benchmarks.gate import is_green
from kernel_benchmarks.measure import NotEqualError, check_equal
from kernel_benchmarks.published import encode_published
from kernel_benchmarks.registry import SHAPES, Shape
from kernel_benchmarks.run import Measured, op_rows, over_compiled
from tests.kernels.checks import DEVICE, HAS_GPU, REFERENCE

SMALL = Shape("small", planes=3, height=2, width=4, merge=2, share_kept=0.5)
CONFIG = VisionConfig(48, 80, 2, 2, 14, 3, "tanh", 1e-6, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_shapes_have_the_published_token_counts() -> None:
    """160 slices of 512² have 16,000 tokens, a 1792² image all of the 16,384 that there may be."""
    assert [shape.planes * shape.tokens for shape in SHAPES] == [16000, 16384, 14976]


def test_ops_that_are_compared_agree() -> None:
    found = list(cases(SMALL, DEVICE, torch.float32))
    assert {case.op.split(",")[0] for case in found} == {"merge_pack", "novelty", "patch_embed_input", "rope2d"}
    for case in found:
        expected = case.eager()
        check_equal(case.op, case.kernel(), expected)


def test_bytes_are_those_that_must_move() -> None:
    """3 planes of 8 patches: pixels of 1 byte in, 4 out; q and k in and out; squares of four read, a mean written."""
    sizes = {case.op: case.num_bytes for case in cases(SMALL, DEVICE, torch.float32)}
    assert sizes["patch_embed_input"] == 24 * 588 * 5
    assert sizes["novelty"] == 24 * 588 + 6 * 4
    assert sizes["rope2d"] == 24 * 1152 * 4 * 4
    assert sizes["merge_pack, all kept"] == 6 * 1152 * 4 * 5


def test_encoders_that_are_compared_agree() -> None:
    ways = encoders.encoders(SMALL, DEVICE, torch.float32, CONFIG)
    expected = ways[encoders.PLAIN]()
    for name in (encoders.KERNELS, encoders.DENSE):
        torch.testing.assert_close(ways[name](), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(HAS_GPU, reason="the other reference is for the CPU")
def test_published_path_is_the_one_of_the_other_benchmarks() -> None:
    """There it is written for the CPU in float32, here for any device and type."""
    encoder = encoders.encoder(CONFIG, REFERENCE, DEVICE, torch.float32)
    pixels = SMALL.pixels(DEVICE)
    torch.testing.assert_close(encode_published(encoder, pixels, 2, 4, 2), encode_dense(encoder, pixels, 2, 4, 2))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("name", [attention.NESTED, attention.PADDED, attention.DENSE])
def test_attentions_that_are_compared_agree(name: str) -> None:
    ways = attention.attentions(DEVICE, torch.float32, (3, 3, 5, 1))
    torch.testing.assert_close(ways[name](), ways[attention.BUCKETED](), rtol=1e-4, atol=1e-5)


def test_what_differs_is_not_compared() -> None:
    ones = torch.ones(5)
    check_equal("near", ones, ones + 1e-3)
    for wrong in (ones + 0.1, ones * torch.nan):
        with pytest.raises(NotEqualError, match="sum: results differ"):
            check_equal("sum", wrong, ones)


def nothing() -> None:
    pass


def test_table() -> None:
    """Half the speed of a copy misses its aim, twice that of plain PyTorch makes it."""
    bound = Case("op", "shape", 10**6, nothing, nothing, nothing, least_share_of_copy=0.85)
    quick = Case("op", "shape", 10**6, nothing, nothing, nothing, least_over_eager=1.5)
    measured = [Measured(case, kernel=2.0, eager=4.0, compiled=3.0, copy=1.0) for case in (bound, quick)]
    _, *rows = op_rows(measured)
    assert rows[0] == ("op", "shape", "1", "2.000", "0", "50%", "2.00", "1.50", "no")
    assert rows[1][-1] == "yes"
    assert over_compiled(measured) == pytest.approx(1.5)


@pytest.mark.parametrize(("body", "green"), [("assert True", True), ("assert False", False), ("", False)])
def test_red_or_no_tests_stop_it(tmp_path: Path, body: str, green: bool) -> None:
    (tmp_path / "test_one.py").write_text(f"def test_one():\n    {body}\n" if body else "")
    assert is_green(tmp_path) == green


@pytest.mark.skipif(HAS_GPU, reason="there is a CUDA device")
def test_without_a_gpu_it_says_so() -> None:
    folder = Path(__file__).parents[2] / "kernels" / "benchmarks"
    result = subprocess.run([sys.executable, str(folder)], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "need a CUDA device, and there is none: nothing was measured" in result.stderr
