"""Arithmetic by the name that users give it (TEST.PRECISION, --precision), and what this processor can do of it.

For evaluation, `build_sampler` of models/build.py hands the name to models/fast/packed.py, which computes the condition
and the denoiser with copies of their weights in PRECISIONS[name]. Candidates, the chain and poses stay in float32.
Training has TRAIN.AMP_DTYPE instead (`Trainer.autocast` in models/trainer.py).
"""

import contextlib
import sys
from collections.abc import Iterator
from functools import cache

import torch

# tf32 is float32 whose matrix products a GPU may round to 10 bits: see float32_products.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "tf32": torch.float32}


@cache
def cpu_multiplies_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16 products; without them they are emulated, many times slower."""
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # not public: another build of PyTorch, or another kind of processor
        return True


@cache
def _say_once(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr)


def usable_precision(name: str, device: torch.device | str) -> str:
    """``name``, or float32 in place of bfloat16 on a CPU that can't multiply bfloat16, which one line says once."""
    if name != "bfloat16" or torch.device(device).type != "cpu" or cpu_multiplies_bfloat16():
        return name
    _say_once("this processor has no instructions for bfloat16: the networks compute in float32")
    return "float32"


@contextlib.contextmanager
def float32_products(precision: str) -> Iterator[None]:
    """Within the block float32 matrix products are computed as ``precision`` says; only tf32 changes anything."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
