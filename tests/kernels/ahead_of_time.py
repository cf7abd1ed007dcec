"""Compiles every kernel to machine code for a device that need not be there, e.g. of compute capability 9.0:
`python -m tests.kernels.ahead_of_time 90`.

A process of its own, because Triton's interpreter, which the other tests use, replaces what is compiled here. The
interpreter takes more than the compiler does, so this finds what it lets pass.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from hulumed_kernels.merge_pack import kernel as merge_pack
from hulumed_kernels.novelty import kernel as novelty
from hulumed_kernels.patch_embed_input import kernel as patch_embed_input
from hulumed_kernels.rope2d import kernel as rope2d
from tests.kernels.checks import published, uneven

FLOATS = ("fp32", "fp16", "bf16")
POINTERS = ("q", "k", "q_out", "k_out")
STRIDES = tuple(f"{x}_stride_{axis}" for x in "qk" for axis in "phn")


@dataclass(frozen=True)
class Variant:
    """A kernel with the types of its arguments; integers of 1 are compiled in, as Triton does when it launches."""

    kernel: Any
    types: Mapping[str, str]
    constants: Mapping[str, Any]
    options: Mapping[str, int]

    def compile(self, capability: int, *, aligned: bool) -> int:
        """Size of the machine code. `aligned`: pointers and integers are multiples of 16, as they mostly are."""
        signature = {
            name: "constexpr" if name in self.constants else self.types[name] for name in self.kernel.arg_names
        }
        attributes = {
            (index,): [["tt.divisibility", 16]]
            for index, kind in enumerate(signature.values())
            if aligned and kind != "constexpr"
        }
        source = ASTSource(self.kernel, signature, dict(self.constants), attributes)
        compiled = triton.compile(source, GPUTarget("cuda", capability, 32), dict(self.options))
        return len(compiled.asm["cubin"])


def variants() -> Iterator[Variant]:
    """All kernels as the ops launch them."""
    for float_type in FLOATS:
        for statistics in (published(3), uneven(3)):
            types = {"patches": "*u8", "out": f"*{float_type}", "num_values": "i64"}
            constants = patch_embed_input.constants(*statistics, 196)
            yield Variant(patch_embed_input.patch_embed_input_fwd_kernel, types, constants, {})
        yield from _rope2d(float_type)
        yield from _merge_pack(float_type)
    for statistics in (published(3), uneven(3)):
        types = {"words": "*i32", "out": "*fp32", "planes": "i32", "tokens": "i32"}
        for one in ({}, {"planes": 1}, {"tokens": 1}):
            constants = {**novelty.constants(2, statistics[1], 588), **one}
            yield Variant(novelty.novelty_fwd_kernel, types, constants, {"num_warps": 1})


def _rope2d(float_type: str) -> Iterator[Variant]:
    types = dict.fromkeys(POINTERS, f"*{float_type}") | dict.fromkeys(STRIDES, "i32")
    types |= {"positions": "*i64", "frequencies": "*fp32", "patches": "i32"}
    for inverse in (False, True):
        yield Variant(rope2d.rope2d_kernel, types, rope2d.constants(16, 72, inverse=inverse), {})
    single = rope2d.constants(1, 4, inverse=False) | dict.fromkeys(("patches", *STRIDES), 1)
    yield Variant(rope2d.rope2d_kernel, types, single, {})
    yield Variant(
        rope2d.rope2d_kernel, types | dict.fromkeys(STRIDES, "i64"), rope2d.constants(16, 72, inverse=False), {}
    )


def _merge_pack(float_type: str) -> Iterator[Variant]:
    forward = {"x": f"*{float_type}", "kept": "*i64", "out": f"*{float_type}"}
    backward = {"d_out": f"*{float_type}", "rows": "*i64", "dx": f"*{float_type}"}
    for merge in (1, 2, 3):
        packed = merge_pack.constants(merge, 1152, packed=True)
        whole = merge_pack.constants(merge, 1152, packed=False)
        yield Variant(merge_pack.merge_pack_fwd_kernel, forward, packed, {})
        yield Variant(merge_pack.merge_pack_fwd_kernel, forward, whole | {"kept": None}, {})
        yield Variant(merge_pack.merge_pack_bwd_kernel, backward, packed, {})
        yield Variant(merge_pack.merge_pack_bwd_kernel, backward, whole | {"rows": None}, {})


def main(capability: int) -> None:
    """Compiles all of them, aligned and not; an error is one of Triton or ptxas, with the line of the kernel."""
    for variant in variants():
        for aligned in (True, False):
            size = variant.compile(capability, aligned=aligned)
            print(f"{variant.kernel.__name__} aligned={aligned}: {size} bytes")


if __name__ == "__main__":
    main(int(sys.argv[1]))
