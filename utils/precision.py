"""Arithmetic by the name that users give it (TEST.PRECISION, --precision): the type in which a network computes."""

import torch

# tf32 is float32 whose matrix products a GPU may round to 10 bits: torch.set_float32_matmul_precision("high").
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "tf32": torch.float32}
