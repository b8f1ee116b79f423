"""Reading weight files of whatever making: PyTorch's and safetensors', with the names that wrappers leave in them.

Nothing in a file is run: PyTorch's files are read with ``weights_only``, and safetensors hold nothing but numbers.
"""

import json
import os
import re
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from utils.environment import environment_trouble
from utils.errors import DiffPoseError

# What DataParallel, DistributedDataParallel, torch.compile and Lightning put before every name.
_WRAPPERS = ("module.", "_orig_mod.", "model.")
_FOREIGN_CLASS = re.compile(r"Unsupported (?:global|class)[^\w]*(?:GLOBAL )?([\w.]+)")
_TERMINAL_CODE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_MAX_HEADER = 100 * 2**20
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_weight_file(path: Path, *, device: torch.device | str = "cpu") -> object:
    """The content of a weight file: of a safetensors file a dict of tensors, else what ``torch.save`` was given.

    Raises DiffPoseError for objects that only code could rebuild and where the machine is to blame; otherwise what
    torch raises for a damaged file.
    """
    try:
        if _is_safetensors(path):
            return {name: value.to(device) for name, value in _read_safetensors(path).items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about outdated storage types, which a reader can do nothing about
            return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        trouble = environment_trouble(error)
        if trouble:
            raise DiffPoseError(f"{path}: cannot be read ({trouble})") from None
        foreign = _FOREIGN_CLASS.search(str(error))
        if foreign:
            raise DiffPoseError(
                f"{path}: not a readable checkpoint: it holds a pickled {foreign[1]}, which only its own code can "
                "rebuild: save the weights alone, torch.save(model.state_dict(), FILE)"
            ) from None
        if "Weights only load failed" in str(error):  # pages of advice, none of which fits
            with path.open("rb") as file:
                raise ValueError(f"it begins with {ascii(file.read(9))[1:]}, as no file of torch.save does") from None
        raise


def first_line(error: BaseException) -> str:
    """The first line of a library's message without terminal codes, cut to a bearable length."""
    lines = _TERMINAL_CODE.sub("", str(error)).strip().splitlines()
    return (lines or [type(error).__name__])[0][:160]


def without_wrappers(state: Mapping[str, Tensor], path: str | os.PathLike[str]) -> Mapping[str, Tensor]:
    """A state dict without the prefixes that wrappers put before every name; says so on stderr."""
    taken = []
    while prefix := next((one for one in _WRAPPERS if state and all(str(name).startswith(one) for name in state)), ""):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
        taken.append(f"'{prefix}'")
    if taken:
        print(
            f"note: {path}: all names begin with {' and '.join(taken)}, as of a wrapped model: left out",
            file=sys.stderr,
        )
    return state


def _is_safetensors(path: Path) -> bool:
    """By its content: the length of a JSON header, then its opening brace."""
    with path.open("rb") as file:
        start = file.read(9)
        return (
            len(start) == 9
            and start[8:] == b"{"
            and int.from_bytes(start[:8], "little") < os.fstat(file.fileno()).st_size
        )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name. Raises ValueError for whatever does not follow the format."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    if length > min(_MAX_HEADER, len(content) - 8):
        raise ValueError("its header is longer than the file")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    start, tensors = 8 + length, {}
    for name, entry in header.items():
        if not isinstance(entry, dict) or entry.get("dtype") not in _DTYPES:
            raise ValueError(f"'{name}' is of a type that weights do not have")
        dtype, shape, (low, high) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
        part = bytearray(content[start + low : start + high])
        count = 1
        for size in shape:
            count *= size
        if low < 0 or len(part) != count * dtype.itemsize:
            raise ValueError(f"'{name}' is cut off")
        values = torch.frombuffer(part, dtype=dtype) if part else torch.empty(0, dtype=dtype)
        tensors[name] = values.reshape(shape)
    return tensors
