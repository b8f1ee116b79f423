"""Scripts of this project in processes of their own, which cost no imports; and what all test processes make once."""

import contextlib
import fcntl
import multiprocessing
import os
import resource
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from models import denoiser
from tests.support.helpers import ROOT

PATIENCE_S = 120
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "train",
        "eval",
        "models.hrnet",
        "data.preprocessing.conversion.command",
        "data.preprocessing.h36m.source",
        "tests.support.distributed_steps",
    ]
)


@dataclass(frozen=True)
class Setting:
    """What a script finds when it starts.

    ``file_limit``: the largest file that it may write, bytes. ``environment``: variables on top of ours. ``folder``:
    the working directory, by default ours. ``replaced``: what stands in modules under other names' places, such as
    ``{"models.hrnet.network.WIDTHS": (8, 16, 32, 64)}``. The width of denoisers is ours in any case.
    """

    file_limit: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    replaced: Mapping[str, object] = field(default_factory=dict)

    def enter(self) -> None:
        os.environ.update(self.environment)
        if self.file_limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_limit, self.file_limit))
        if self.folder:
            os.chdir(self.folder)
        for name, value in self.replaced.items():
            module, _, attribute = name.rpartition(".")
            assert hasattr(sys.modules[module], attribute), name
            setattr(sys.modules[module], attribute, value)


def _child(script: str, arguments: list[str], out: str, err: str, threads: int, setting: Setting) -> None:
    for path, stream in ((out, 1), (err, 2)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, stream)
        os.close(descriptor)
    torch.set_num_threads(threads)
    setting.enter()
    _run(script, arguments)


def _run(script: str, arguments: list[str]) -> None:
    sys.argv = [script, *arguments]
    if script.endswith(".py"):
        runpy.run_path(script, run_name="__main__")
    else:
        runpy.run_module(script, run_name="__main__", alter_sys=True)


class ForkedScript:
    """A script, or a module, that runs as ``python SCRIPT`` does, in a process forked from one that imported it all.

    ``logs``: a folder for stdout and stderr.
    """

    def __init__(self, script: str, *arguments: object, logs: Path, setting: Setting = Setting()):
        self._out, self._err = (Path(logs) / f"{time.monotonic_ns()}.{kind}" for kind in ("out", "err"))
        for log in (self._out, self._err):
            log.touch()  # a process may be killed before it has begun
        path = str(ROOT / script) if script.endswith(".py") else script
        words = [str(argument) for argument in arguments]
        texts = str(self._out), str(self._err)
        setting = replace(setting, replaced={"models.denoiser.HIDDEN": denoiser.HIDDEN, **setting.replaced})
        self.process = _CONTEXT.Process(target=_child, args=(path, words, *texts, torch.get_num_threads(), setting))
        self.process.start()
        self.pid: int = self.process.pid

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()

    def stop(self) -> None:
        """SIGSTOP; returns when it stands still, or has ended."""
        os.kill(self.pid, signal.SIGSTOP)
        while self.poll() is None and Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.001)

    def wait(self, patience_s: float = PATIENCE_S) -> tuple[int, str, str]:
        """(exit code, stdout, stderr); a process that hangs is ended, and fails the test."""
        watchdog = threading.Timer(patience_s, self.process.kill)
        watchdog.start()
        self.process.join()
        watchdog.cancel()
        return self.process.exitcode, self._out.read_text(), self._err.read_text()


def run_in_fork(arguments: list[object], *, check: bool = False) -> subprocess.CompletedProcess:
    """In place of ``subprocess.run`` in a :class:`ForkedScript`: ``[sys.executable, SCRIPT, ..]`` in a fork of it."""
    python, script, *rest = map(str, arguments)
    assert python == sys.executable
    process = multiprocessing.get_context("fork").Process(target=_run, args=(script, rest))
    process.start()
    process.join()
    return subprocess.CompletedProcess(arguments, process.exitcode)


def run_as_two(script: str, *arguments: object, logs: Path) -> str:
    """A script by two processes that find each other as torchrun's do; stdout of both, once both ended well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    runs = [
        ForkedScript(
            script, *arguments, logs=logs, setting=Setting(environment={**shared, "RANK": rank, "LOCAL_RANK": rank})
        )
        for rank in ("0", "1")
    ]
    texts = []
    for run in runs:
        code, out, err = run.wait()
        assert code == 0, err
        texts.append(out)
    return "".join(texts)


@contextlib.contextmanager
def made_once(tmp_path_factory, name: str) -> Iterator[tuple[Path, bool]]:
    """A folder that all of pytest's worker processes share, and whether the block is the first one that has it.

    The others wait until the first one's block is over. If that one fails, the next one is the first.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, done = shared / name, shared / f"{name}.done"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        first = not done.exists()
        if first:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        yield folder, first
        done.touch()
