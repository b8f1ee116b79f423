"""A harness that throws damaged files at a reader, in child processes with little memory and little time.

A reader of strangers' files either succeeds or raises DiffPoseError with one short line. Anything else (another
exception, a crash of a C library, a hang, memory without bound) is a finding.
"""

import faulthandler
import os
import random
import resource
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from utils.errors import DiffPoseError

TIME_LIMIT_S = 20
# On top of what the child has when it begins: libraries and threads map gigabytes that they never touch.
MEMORY_LIMIT = 2 * 2**30
MESSAGE_LIMIT = 2000
_NUMBERS = (0, 1, 2**7, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1)


@dataclass(frozen=True)
class Reader:
    """What reads a kind of file: ``read`` takes a path; ``seeds`` are whole files to damage; ``suffix`` their ending.

    ``head_bytes`` and ``tail_bytes`` say where a file's structure lies: most damage goes there, the rest anywhere.
    """

    name: str
    suffix: str
    seeds: Callable[[Path], Sequence[bytes]]
    read: Callable[[Path], object]
    head_bytes: int = 4096
    tail_bytes: int = 4096
    words: Sequence[bytes] = ()


def mutate(data: bytes, source: random.Random, reader: Reader, others: Sequence[bytes]) -> bytes:
    """A damaged copy of ``data``: bits, bytes, numbers, cuts, repetitions, words of the format, parts of others."""
    damaged = bytearray(data)
    for _ in range(source.choice((1, 1, 1, 2, 4, 16))):
        place = _place(len(damaged), source, reader)
        kind = source.randrange(9)
        if kind == 0:
            damaged[place : place + 1] = bytes([source.randrange(256)])
        elif kind == 1 and damaged:
            damaged[min(place, len(damaged) - 1)] ^= 1 << source.randrange(8)
        elif kind == 2:
            size = source.choice((1, 2, 4, 8))
            number = source.choice(_NUMBERS) % 2 ** (8 * size)
            damaged[place : place + size] = number.to_bytes(size, source.choice(("little", "big")))
        elif kind == 3:
            del damaged[place : place + source.choice((1, 2, 8, 64, 1024))]
        elif kind == 4:
            damaged[place:place] = source.randbytes(source.choice((1, 2, 8, 64)))
        elif kind == 5:
            start = _place(len(damaged), source, reader)
            damaged[place:place] = damaged[start : start + source.choice((1, 8, 64, 512))]
        elif kind == 6:
            del damaged[place:]
        elif kind == 7 and reader.words:
            damaged[place : place + source.choice((0, 0, 4))] = source.choice(reader.words)
        else:
            other = source.choice(others)
            start = _place(len(other), source, reader)
            size = source.choice((8, 64, 512))
            damaged[place : place + size] = other[start : start + size]
    return bytes(damaged)


def _place(size: int, source: random.Random, reader: Reader) -> int:
    where = source.random()
    if where < 0.5:
        return source.randrange(min(size, reader.head_bytes) + 1)
    if where < 0.8:
        return max(0, size - source.randrange(min(size, reader.tail_bytes) + 1))
    return source.randrange(size + 1)


def findings(reader: Reader, count: int, folder: Path, *, seed: int = 0) -> list[str]:
    """Read ``count`` damaged files; one text for each that ended otherwise than it should."""
    seeds = reader.seeds(folder)
    source = random.Random(f"{reader.name} {seed}")
    inputs = [mutate(source.choice(seeds), source, reader, seeds) for _ in range(count)]
    return list(run_in_children(reader, inputs, folder))


def run_in_children(reader: Reader, inputs: Sequence[bytes], folder: Path) -> Iterator[str]:
    """Each child goes on until its reader ends it; the next one begins with the input after that."""
    done = 0
    while done < len(inputs):
        receiver, sender = os.pipe()
        child = os.fork()
        if not child:
            os.close(receiver)
            _read_all(reader, inputs[done:], folder, sender)
        os.close(sender)
        with os.fdopen(receiver, encoding="utf-8", errors="replace") as reports:
            lines = reports.read().split("\0")
        _, status = os.waitpid(child, 0)
        begun = lines.count("begin")
        yield from (f"{reader.name}: {line}" for line in lines if line not in ("begin", "end", ""))
        if lines.count("end") < begun:
            what = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {status}"
            kept = folder / f"crash-{reader.name}-{done + begun - 1}{reader.suffix}"
            kept.write_bytes(inputs[done + begun - 1])
            yield f"{reader.name}: input {done + begun - 1} ended the process ({what}), see {kept}"
        elif not begun:
            raise RuntimeError(f"a child did nothing (status {status})")
        done += begun


def _read_all(reader: Reader, inputs: Sequence[bytes], folder: Path, sender: int) -> None:
    """The child's whole life."""
    torch.set_num_threads(1)
    faulthandler.disable()  # pytest's, which would report the crashes that are looked for
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_LIMIT, mapped + MEMORY_LIMIT))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # HDF5 and OpenCV complain there
    path = folder / f"damaged-{reader.name}{reader.suffix}"
    for content in inputs:
        path.write_bytes(content)
        os.write(sender, b"begin\0")
        signal.alarm(TIME_LIMIT_S)
        problem = outcome(reader.read, path)
        signal.alarm(0)
        os.write(sender, (problem.replace("\0", " ")[-3000:] or "end").encode("utf-8", "replace") + b"\0")
        if problem:
            os.write(sender, b"end\0")
    os._exit(0)


def outcome(read: Callable[[Path], object], path: Path) -> str:
    """'' for success and for a proper error; else what is wrong."""
    try:
        read(path)
    except DiffPoseError as error:
        text = str(error)
        if "\n" in text or len(text) > MESSAGE_LIMIT:
            return f"a message of {len(text)} characters, {text.count(chr(10))} line breaks: {text[:300]}"
    except BaseException:
        return traceback.format_exc()
    return ""
