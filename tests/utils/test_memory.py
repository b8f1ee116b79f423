"""Freed memory is kept for the next use."""

import ctypes
import subprocess
import sys

import pytest

from utils.memory import keep_freed_memory

# The C library's own count of what it could give back: page faults are not counted under every kernel.
PROGRAM = """
import ctypes, sys
from utils.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]
library = ctypes.CDLL(None)
library.mallinfo2.restype = Mallinfo2
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.restype, library.free.argtypes = None, [ctypes.c_void_p]
for _ in range(3):
    blocks = [library.malloc(2**24) for _ in range(8)]  # 128 MB
    while blocks:
        library.free(blocks.pop())
print(library.mallinfo2().keepcost)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="not glibc 2.33 or later")
def test_freed_memory_is_kept():
    kept = {}
    for mode in ("keep", "give back"):
        command = [sys.executable, "-c", PROGRAM, mode]
        kept[mode] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert kept["keep"] > 100 * 2**20
    assert kept["give back"] < 50 * 2**20


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert keep_freed_memory() is False
