"""``make quickstart``: does what is not done yet, and nothing when all is done; an old benchmark is made anew."""

import os
import shutil
import subprocess

import pytest

from demo import inference
from tests.support.helpers import ROOT

# Stands in for Python and does to the files what the commands do. ``stale``: the benchmark is of an old version.
STAND_IN = """#!/bin/sh
echo "$*" >> calls
run=output/quickstart_42
case "$*" in
  "-m data.synthetic"*) if [ ! -f output/benchmark/benchmark.h5 ] || [ -f stale ]; then
      rm -f stale; mkdir -p output/benchmark; sleep 0.02; echo new > output/benchmark/benchmark.h5; fi ;;
  train.py*) if [ ! -f $run/model-final.pt ]; then
      mkdir -p $run; sleep 0.02; touch $run/config.yaml; cp output/benchmark/benchmark.h5 $run/model-final.pt; fi ;;
  eval.py*) sleep 0.02; touch $run/report.json; echo result > $run/report.txt ;;
esac
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def clone(tmp_path):
    """A folder with the Makefile, an environment that is ready, and the stand-in for Python."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.txt", "pyproject.toml", "experiments/synthetic/quickstart.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1e9, 1e9))
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(STAND_IN)
    python.chmod(0o755)
    (tmp_path / ".venv" / ".ready").touch()
    return tmp_path


def quickstart(clone):
    """The scripts that ``make quickstart`` called, and what it printed."""
    (clone / "calls").unlink(missing_ok=True)
    done = subprocess.run(["make", "quickstart"], cwd=clone, capture_output=True, text=True, check=True)
    calls = (clone / "calls").read_text().splitlines()
    return ["benchmark" if "data.synthetic" in call else call.split(".py")[0] for call in calls], done.stdout


def test_a_fresh_clone_does_everything_and_the_second_time_nothing_but_ask(clone):
    assert quickstart(clone)[0] == ["benchmark", "train", "eval"]
    assert quickstart(clone)[0] == ["benchmark"]


def test_a_benchmark_of_an_old_version_is_made_anew_and_its_run_put_aside(clone):
    quickstart(clone)
    benchmark, run = clone / "output/benchmark/benchmark.h5", clone / "output/quickstart_42"
    benchmark.write_text("old")
    (run / "model-final.pt").write_text("old")
    past = benchmark.stat().st_mtime - 1000
    for file in (benchmark, *run.iterdir()):
        os.utime(file, (past, past))
    os.utime(run / "report.json")
    (clone / "stale").touch()
    calls, printed = quickstart(clone)
    assert calls == ["benchmark", "train", "eval"]
    assert "older benchmark: moved to output/quickstart_42_old" in printed
    assert (run / "model-final.pt").read_text() == "new\n"
    assert (clone / "output/quickstart_42_old/model-final.pt").read_text() == "old"
    assert quickstart(clone)[0] == ["benchmark"]


def test_the_demo_calls_its_script_with_arguments_that_it_takes(clone, monkeypatch):
    subprocess.run(["make", "demo", "EVERY=5"], cwd=clone, capture_output=True, text=True, check=True)
    script, *arguments = (clone / "calls").read_text().split()
    assert script == "demo/inference.py"
    monkeypatch.setattr("sys.argv", [script, *arguments])
    args = inference.parse_arguments()
    assert (args.input, args.every) == ("demo", 5)


def test_an_interrupted_run_goes_on(clone):
    quickstart(clone)
    (clone / "output/quickstart_42/model-final.pt").unlink()
    calls, printed = quickstart(clone)
    assert calls == ["benchmark", "train", "eval"]
    assert "moved" not in printed
