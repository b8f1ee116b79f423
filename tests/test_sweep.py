"""The sweep runner and the table maker, on tiny runs."""

import json
import subprocess
import sys

import pytest

from experiments import sweep, tables
from experiments.frame_errors import read_errors
from tests.support.processes import ForkedScript, Setting
from utils.errors import run_script


@pytest.fixture
def command(monkeypatch, capsys):
    """Run sweep or tables in this process: command(module, '--results', ..) -> (exit code, stdout, stderr)."""

    def run(module, *args):
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            run_script(module.main)
        out = capsys.readouterr()
        return int(stop.value.code or 0), out.out, out.err

    return run


@pytest.fixture
def forked(monkeypatch, tmp_path):
    """The sweep's commands are forked: they cost no imports."""

    def run(arguments, *, stdout, stderr, env, check):
        script, *rest = arguments[1:]
        code, out, err = ForkedScript(script, *rest, logs=tmp_path, setting=Setting(environment=env)).wait()
        stdout.write((out + err).encode())
        return subprocess.CompletedProcess(arguments, code)

    monkeypatch.setattr(sweep.subprocess, "run", run)


@pytest.mark.usefixtures("forked")
def test_runs_are_filed_once_and_made_into_tables(command, tiny, tmp_path):
    results = tmp_path / "results"
    args = ("--configs", tiny, "--seeds", 1, 2, "--results", results, "--devices", "cpu", "--set", "TRAIN.NUM_STEPS=2")
    code, out, err = command(sweep, *args)
    assert code == 0, err
    assert "2 runs to do, 0 done" in out
    reports = {path.name: json.loads(path.read_text()) for path in results.rglob("seed*.json")}
    assert set(reports) == {"seed1.json", "seed2.json"}
    about = reports["seed2.json"]["experiment"]
    assert (about["name"], about["seed"], about["steps"], about["batch"]) == ("tiny", 2, 2, 6)
    assert not list(tmp_path.glob("run_seed*/state-*.pt"))
    assert "0 runs to do, 2 done" in command(sweep, *args)[1]

    assert command(tables, "--results", results)[0] == 0
    text = (tmp_path / "tables.md").read_text()
    best = [report["results"][0]["rows"]["best"]["mpjpe"] for report in reports.values()]
    mean, half = sum(best) / 2, abs(best[0] - best[1]) / 2**0.5
    assert f"| tiny | 2 | 2 x 6 | {mean:.1f} ± {half:.1f} |" in text
    curve = [report["results"][0]["best_of_n"]["mpjpe"] for report in reports.values()]
    assert f"| tiny | full | {(curve[0][0] + curve[1][0]) / 2:.1f} |" in text
    assert "synthetic" in text
    lines = (tmp_path / "tables.csv").read_text().splitlines()
    assert len(lines) == 3
    assert f"{best[0]:.3f}" in lines[1] + lines[2]
    assert (tmp_path / "best_of_n.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("forked")
def test_errors_by_frame_of_a_finished_training_are_added_to(command, tiny, tmp_path):
    results = tmp_path / "results"
    args = ("--configs", tiny, "--seeds", 1, "--results", results, "--devices", "cpu", "--set", "TRAIN.NUM_STEPS=2")
    args += ("--whole", "--frame_errors")
    code, _, err = command(sweep, *args, "raw")
    assert code == 0, err
    weights = tmp_path / "run_seed1" / "model-final.pt"
    before = weights.stat().st_mtime_ns
    path = results / "tiny" / "seed1.json"
    assert set(read_errors(path)["evaluations"]) == {"raw"}
    assert read_errors(path)["experiment"]["steps"] == 2
    assert "0 runs to do, 1 done" in command(sweep, *args, "raw")[1]
    code, out, err = command(sweep, *args, "raw", "ema")
    assert (code, "1 runs to do" in out) == (0, True), err
    assert set(read_errors(path)["evaluations"]) == {"raw", "ema"}
    assert weights.stat().st_mtime_ns == before, "trained again"
    # Another budget in the same folder: the old weights' errors must not pass for the new ones'.
    path.unlink()
    code, _, err = command(sweep, *[arg.replace("=2", "=3") if isinstance(arg, str) else arg for arg in args], "raw")
    assert code == 0, err
    assert weights.stat().st_mtime_ns != before
    assert set(read_errors(path)["evaluations"]) == {"raw"}


def test_jobs_by_configuration_or_by_seed(tmp_path):
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("")
    patterns = [str(tmp_path / "*.yaml")]
    by_seed = [(job.name, job.seed) for job in sweep.find_jobs(patterns, [1, 2], tmp_path)[0]]
    whole = [(job.name, job.seed) for job in sweep.find_jobs(patterns, [1, 2], tmp_path, whole=True)[0]]
    assert by_seed == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert whole == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_a_failed_run_is_named_and_the_others_go_on(command, tiny, tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text(tiny.read_text().replace("tiny.h5", "absent.h5"))
    code, _, err = command(sweep, "--configs", broken, "--results", tmp_path / "results", "--devices", "cpu")
    assert code == 2
    assert "1 of 1 runs failed" in err
    assert "absent.h5" in err


def test_whatever_goes_wrong_the_other_jobs_are_done(command, tiny, tmp_path, monkeypatch):
    """A thread that ended early once left the queue undone, with exit code 0."""
    begun = []

    def run_job(job, *_):
        begun.append(job.seed)
        if job.seed == 1:
            raise TypeError("odd")

    monkeypatch.setattr(sweep, "run_job", run_job)
    options = ("--configs", tiny, "--seeds", 1, 2, "--results", tmp_path / "results", "--devices", "cpu")
    code, _, err = command(sweep, *options)
    assert begun == [1, 2]
    assert code == 2
    assert "1 of 2 runs failed" in err
    assert "seed 1: TypeError('odd')" in err


def test_a_damaged_result_is_refused_before_anything_is_run(command, tiny, tmp_path):
    path = tmp_path / "results" / tiny.stem / "seed1.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    options = ("--configs", tiny, "--seeds", 1, "--results", tmp_path / "results", "--frame_errors", "raw")
    code, _, err = command(sweep, *options)
    assert code == 2
    assert "seed1.json: not a whole file" in err
    code, _, err = command(tables, "--results", tmp_path / "results")
    assert code == 2
    path.write_text('{"experiment": {"name": "a"}, "frames": {}}')
    code, _, err = command(tables, "--results", tmp_path / "results")
    assert code == 2
    assert "experiments/claims_report.py reads" in err


def test_nothing_to_sweep_or_to_tabulate_is_one_line(command, tmp_path):
    code, _, err = command(sweep, "--configs", tmp_path / "*.yaml")
    assert code == 2
    assert "no .yaml file matches" in err
    code, _, err = command(tables, "--results", tmp_path)
    assert code == 2
    assert "sweep.py" in err
    (tmp_path / "seed1.json").write_text("{}")
    code, _, err = command(tables, "--results", tmp_path)
    assert code == 2
    assert "seed1.json: not a report" in err
