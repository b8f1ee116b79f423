"""Paired statistics against answers that are known, and the report of claims made from a sweep's files."""

import json
import sys

import numpy as np
import pytest

from experiments import claims_report
from experiments.frontier_output import COLUMNS, read_frontiers
from experiments.paired import Evaluated, Frames, calibration_score, difference, gain_curve, mean_score, read_runs
from utils.errors import DiffPoseError
from utils.evaluation.calibration import CalibrationCounter

MOTIONS, EACH = 30, 8


def frames_of(motions=MOTIONS, each=EACH):
    motion = np.repeat(np.arange(motions), each)
    every = np.ones(len(motion), bool)
    ambiguity = np.linspace(1.5, 6, len(motion))
    return Frames(motion, full=every, hard=every, ambiguity=ambiguity, source="made up", stride=1)


def evaluated(errors, closer=None, hypotheses=4):
    errors = np.asarray(errors, float)
    closer = np.zeros((*errors.shape, 2), int) if closer is None else closer
    return Evaluated({"error": errors}, closer, hypotheses, "ddim", 5)


def differ(differences, frames, resamples=2000):
    """The interval of given differences (S, F) between two runs."""
    base = np.random.default_rng(1).normal(60, 20, np.shape(differences))
    pair = evaluated(base + differences), evaluated(base)
    return difference(*pair, "error", frames, frames.full, resamples=resamples)


def test_a_constant_difference_has_no_width_however_much_frames_differ():
    found = differ(np.full((3, MOTIONS * EACH), 5.0), frames_of())
    assert [found.size, found.low, found.high, *found.by_seed] == pytest.approx([5] * 6)
    assert found.verdict == "holds"
    assert differ(np.full((3, MOTIONS * EACH), -5.0), frames_of()).verdict == "does not hold"


def test_frames_of_one_motion_count_as_one():
    """With an effect of each motion, deviation 10, the mean of 30 motions is known to 1.96 x 10 / sqrt(30) = 3.6."""
    effect = np.random.default_rng(0).normal(0, 10, MOTIONS)
    effect = 10 * (effect - effect.mean()) / effect.std()
    found = differ(np.tile(np.repeat(effect, EACH), (3, 1)), frames_of())
    assert found.size == pytest.approx(0, abs=1e-9)
    assert (found.high - found.low) / 2 == pytest.approx(3.6, rel=0.1)
    assert found.verdict == "open"


def test_seeds_that_disagree_make_the_interval_wide():
    """The three seeds' mean lies at either end for one resample in 27, which is more than 2.5 %."""
    found = differ(np.repeat([[-3.0], [0.0], [3.0]], MOTIONS * EACH, axis=1), frames_of())
    assert [found.size, found.low, found.high] == pytest.approx([0, -3, 3])
    assert found.by_seed == pytest.approx((-3, 0, 3))


def test_one_seed_still_has_an_interval_over_motions():
    motion = np.repeat(np.random.default_rng(2).normal(3, 2, MOTIONS), EACH)
    found = differ(motion[None], frames_of())
    assert found.by_seed == pytest.approx((found.size,))
    assert found.low < found.size < found.high


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    source, frames, held = np.random.default_rng(3), frames_of(), 0
    for _ in range(100):
        motion = np.repeat(source.normal(2, 6, MOTIONS), EACH)
        found = differ(motion + source.normal(0, 4, (3, MOTIONS * EACH)), frames, resamples=300)
        held += found.low <= 2 <= found.high
    assert 86 <= held <= 99


def test_calibration_is_that_of_the_reports():
    source = np.random.default_rng(5)
    closer = source.integers(0, 9, (2, 40, 3))
    motion = np.repeat(np.arange(8), 5)
    score = calibration_score(closer, motion, 8)
    whole = score(np.ones((1, 8)))[0]
    for seed in range(2):
        counter = CalibrationCounter(num_hypotheses=8, joints=("a", "b", "c"), skip_root=False)
        counter.add(closer[seed], 8 - closer[seed])
        assert whole[seed] == pytest.approx(counter.result().error, abs=1e-6)
    # A motion counted twice is the same as its frames counted twice.
    twice = calibration_score(np.concatenate([closer, closer[:, :5]], 1), np.concatenate([motion, motion[:5]]), 8)
    assert score(np.array([[2.0, *[1] * 7]])) == pytest.approx(twice(np.ones((1, 8))), abs=1e-6)


def test_means_are_over_frames_not_motions():
    score = mean_score(np.array([[1.0, 2.0, 6.0]]), np.array([0, 0, 1]))
    assert score(np.array([[1.0, 1.0], [0.0, 2.0]])) == pytest.approx(np.array([[3.0], [6.0]]))


def test_gain_over_ambiguity():
    frames = frames_of()
    at = np.array([2.0, 3.0, 5.0])
    value, low, high = gain_curve(np.full((3, MOTIONS * EACH), 4.0), frames, at, width=0.1, resamples=300)
    for found in (value, low, high):
        assert found == pytest.approx([4, 4, 4])
    rising = np.tile(np.log(frames.ambiguity), (3, 1))
    value, low, high = gain_curve(rising, frames, at, width=0.05, resamples=300)
    assert value == pytest.approx(np.log(at), abs=0.03)
    assert np.all((low <= value) & (value <= high))


# --- the report


def file_errors(folder, name, seed, shift, evaluations=("ema", "raw")):
    """A file as the sweep writes it, with 12 frames of 4 motions, whose errors are those of the main run + shift."""
    source = np.random.default_rng(seed)
    base = source.normal(70, 10, 12)

    def errors(extra):
        names = [f"{row}_{metric}" for row in ("mean_pose", "zero_noise") for metric in ("mpjpe", "pa_mpjpe")]
        found = {name: (base + 10 + extra).tolist() for name in names}
        for n, more in ((1, 20), (10, 10), (50, 5), (200, 0)):
            found |= {f"best_{n}_{metric}": (base + more + extra).tolist() for metric in ("mpjpe", "pa_mpjpe")}
        return found | {"energy": (base + extra).tolist(), "closer": [[3, 2]] * 12}

    frames = {
        "row": list(range(12)),
        "full": [1] * 8 + [0] * 4,
        "hard": [0] * 4 + [1] * 8,
        "motion": [0, 0, 0, 1, 1, 1, 4, 4, 4, 7, 7, 7],
        "action": ["Walking"] * 12,
        "ambiguity": np.linspace(1, 4, 12).tolist(),
    }
    about = {"sampler": "ddim", "steps": 5, "hypotheses": 4, "weights": "ema", "seconds": 1.0}
    content = {
        "about": {"source": "synthetic: made up", "stride": 32, "seed": 0, "weights": f"{name}{seed}"},
        "frames": frames,
        "evaluations": {
            key: about | {"errors": errors(shift + (1.5 if key == "ema/published" else 0))} for key in evaluations
        },
        "experiment": {"name": f"a/{name}", "seed": seed, "steps": 5000, "batch": 64, "minutes": 20.0},
    }
    path = folder / "a" / name / f"seed{seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    for seed in (1, 2, 3):
        file_errors(folder, "diffpose", seed, 0, ("ema", "raw", "ema/published"))
        file_errors(folder, "diffpose_argmax_only", seed, 4 + seed)
    file_errors(folder, "baseline_concat", 1, 1)
    return folder


def test_report_into_a_document_with_pictures(results, tmp_path, monkeypatch, capsys):
    document, log = tmp_path / "claims.md", tmp_path / "main.jsonl"
    names = ("judged claims", "runs", "runs with raw weights", "few steps", "best of 200", "runs so far", "objectives")
    document.write_text("".join(f"<!-- table: {name} -->\n<!-- end of table -->\n" for name in names))
    entry = {"validation/best_mpjpe": 60.0, "validation/mean_mpjpe": 80.0}
    log.write_text("".join(json.dumps({"step": step, **entry}) + "\n" for step in (500, 1000)))
    options = ("--results", results, "--into", document, "--pictures", tmp_path, "--curves", log)
    monkeypatch.setattr(sys, "argv", ["claims_report.py", *map(str, options)])
    assert claims_report.main() == 0
    text = document.read_text()
    unwrapped = " ".join(text.split())
    row = next(line for line in text.splitlines() if line.startswith("| heatmap samples beat the argmax alone"))
    assert "**holds** | +6.0 [5.0, 7.0] |" in row
    assert row.endswith("+5.0, +6.0, +7.0 |")
    assert "concatenated candidates (1 of 3 seeds)" in unwrapped
    assert "| diffpose | ddim, 5 |" in text
    assert "(-1.5 [-1.5, -1.5])" in text
    assert "7 runs of 5,000 x 64" in text
    assert "Not run yet: pred_x0 beats pred_noise (0 of 3 seeds); pred_x0 beats velocity (0 of 3 seeds)" in unwrapped
    assert "**holds**" in capsys.readouterr().out
    for name in ("best_of_n", "ambiguity_gain", "learning_curves"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_frontiers_stand_in_one_table_the_best_first(results, tmp_path):
    def result(name, steps, energy):
        numbers = {key: {"value": energy} for key, _, _ in COLUMNS.values()}
        return {"name": name, "steps": steps, "numbers": numbers}

    folder = tmp_path / "frontiers"
    folder.mkdir()
    for objective, energies in (("pred_x0", (70, 60)), ("velocity", (65, 50))):
        found = [result("published chain", 25, energies[0]), result("ddim", 5, energies[1])]
        (folder / f"{objective}.json").write_text(json.dumps({"about": {}, "results": found}))
    report = claims_report.Report(*read_runs(results), {"frontiers": folder})
    lines = report.tables()["frontiers"]().splitlines()[2:]
    assert [line.split(" | ")[:3] for line in lines] == [
        ["| velocity", "ddim", "5"],
        ["| pred_x0", "ddim", "5"],
        ["| velocity", "published chain", "25"],
        ["| pred_x0", "published chain", "25"],
    ]
    without = {"name": "ddim", "steps": 5, "numbers": {"best_mpjpe": {"value": 3.0}}}
    numbers = {key: {"value": 3.0} for key, _, _ in COLUMNS.values()}
    unnamed = {"name": None, "steps": 5, "numbers": numbers}
    odd = {"name": "ddim", "steps": 5, "numbers": numbers | {"energy_score": {"value": float("nan")}}}
    for wrong in ([], {"results": [without]}, {"results": []}, {"results": [unnamed]}, {"results": [odd]}):
        (folder / "other.json").write_text(json.dumps(wrong))
        (folder / "velocity.json").unlink(missing_ok=True)
        (folder / "pred_x0.json").unlink(missing_ok=True)
        with pytest.raises(DiffPoseError, match="not those of"):
            read_frontiers(folder)


def test_files_of_other_frames_are_refused(results):
    path = file_errors(results, "diffpose", 4, 0)
    content = json.loads(path.read_text())
    content["frames"]["row"][0] = 99
    path.write_text(json.dumps(content))
    with pytest.raises(DiffPoseError, match=r"seed4\.json: of other frames"):
        read_runs(results)
    with pytest.raises(DiffPoseError, match="holds no seed"):
        read_runs(results / "nothing")


def test_files_that_do_not_belong_together_are_refused(results):
    path = file_errors(results, "diffpose", 4, 0)
    content = json.loads(path.read_text())
    for change, said in (
        ({"steps": 100}, "several configurations or budgets"),
        ({"seed": 1}, "one seed twice"),
        ({"name": "other/diffpose"}, "several configurations"),
    ):
        path.write_text(json.dumps(content | {"experiment": content["experiment"] | change}))
        with pytest.raises(DiffPoseError, match=said):
            read_runs(results)
    path.write_text(json.dumps({key: value for key, value in content.items() if key != "experiment"}))
    with pytest.raises(DiffPoseError, match=r"seed4\.json: not a file of .*file has no experiment"):
        read_runs(results)
    path.write_text(json.dumps(content | {"about": content["about"] | {"seed": 9}}))
    with pytest.raises(DiffPoseError, match="of other frames or draws"):
        read_runs(results)


def errors_in(content):
    return content["evaluations"]["ema"]["errors"]


def changed(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_what_a_file_or_a_run_lacks_is_one_line(results, tmp_path, monkeypatch):
    """Of files that are there, but not what this report needs."""

    def reported(*options):
        monkeypatch.setattr(sys, "argv", ["claims_report.py", "--results", str(results), *map(str, options)])
        return claims_report.main()

    def refused(said, *options):
        with pytest.raises(DiffPoseError, match=said):
            reported(*options)

    path = results / "a" / "diffpose" / "seed1.json"
    whole = path.read_text()
    for change, said in (
        (lambda content: content["about"].pop("seed"), "about has no seed"),
        (lambda content: content["frames"].pop("ambiguity"), "frames has no ambiguity"),
        (lambda content: content["evaluations"]["ema"].pop("steps"), "ema has no steps"),
        (lambda content: content["evaluations"]["ema"]["errors"].pop("energy"), "ema: errors has no energy"),
        (lambda content: content["evaluations"]["raw"]["errors"]["energy"].pop(), "raw: energy is not of 12 frames"),
        (lambda content: content["experiment"].pop("batch"), "sweep.py --frame_errors .experiment has no batch"),
        (lambda content: content["evaluations"]["ema"].update(steps=7), "sampled in several ways for 'ema'"),
        (lambda content: content.update(about=["source", "stride", "seed", "weights"]), "about is of a wrong kind"),
        (lambda content: content["evaluations"]["ema"].update(sampler=[]), "ema: sampler is of a wrong kind"),
        (lambda content: content["evaluations"]["ema"].update(hypotheses="4"), "ema: hypotheses is of a wrong kind"),
        (lambda content: content["evaluations"].update(raw=None), "raw is of a wrong kind"),
        (lambda content: errors_in(content)["energy"].__setitem__(0, None), "ema: energy: not a number"),
        (lambda content: errors_in(content)["energy"].__setitem__(0, float("nan")), "ema: energy: not a number"),
        (lambda content: errors_in(content)["best_10_mpjpe"].__setitem__(0, "3"), "ema: best_10_mpjpe: not a number"),
        (lambda content: errors_in(content)["closer"].__setitem__(0, [1]), "inhomogeneous"),
        (lambda content: errors_in(content)["closer"].__setitem__(0, [1, 0.5]), "ema: closer: not a number"),
        (lambda content: errors_in(content)["closer"].__setitem__(0, [1, 5]), "more hypotheses than there are"),
        (lambda content: errors_in(content).pop("best_10_pa_mpjpe"), "sampled in several ways"),
        (lambda content: content.update(experiment=None), "file: experiment is of a wrong kind"),
        (lambda content: content["experiment"].update(minutes="20"), "experiment: minutes is of a wrong kind"),
        (lambda content: content["experiment"].update(seed=True), "experiment: seed is of a wrong kind"),
    ):
        changed(path, change)
        refused(said)
        path.write_text(whole)
    document = tmp_path / "claims.md"
    refused("--into names Markdown files that are there", "--into", document)
    document.write_bytes(b"\xff\xfe")
    refused("--into names Markdown files", "--into", document)
    document.write_text("no table")
    refused("to put a table in", "--into", document)
    refused("--pictures: name where", "--curves", document)
    refused("--into: name where", "--rates", tmp_path)
    document.write_text("<!-- table: rates -->\n<!-- end of table -->\n")
    refused("--rates: name the folder", "--into", document)
    lost = "<!-- table: runs -->\nprose\n<!-- table: few steps -->\n<!-- end of table -->\n"
    document.write_text(lost)
    refused("needs an '<!-- end of table -->' of its own", "--into", document)
    assert document.read_text() == lost
    path.write_text("[" * 200_000)
    refused("RecursionError")
    path.write_text(whole)
    for path in results.rglob("seed*.json"):
        changed(path, lambda content: content["frames"].update(hard=[0] * 12))
    refused("the hard split needs frames of two motions")
    for path in results.rglob("seed*.json"):
        changed(path, lambda content: content["frames"].update(hard=[1] * 12, ambiguity=[0.0] * 12))
    refused("ambiguity is 0")
    for path in results.rglob("seed*.json"):
        changed(path, lambda content: content["frames"].update(ambiguity=[2.0] * 12))
        for evaluation in ("ema", "raw"):
            changed(path, lambda content, key=evaluation: content["evaluations"][key]["errors"].pop("best_200_mpjpe"))
    refused("no best_200_mpjpe of 4 hypotheses, 200 are needed")


def test_no_gain_is_drawn_while_the_two_share_no_seed(tmp_path, monkeypatch):
    file_errors(tmp_path / "results", "diffpose", 1, 0)
    file_errors(tmp_path / "results", "diffpose_argmax_only", 2, 5)
    options = ("--results", tmp_path / "results", "--pictures", tmp_path)
    monkeypatch.setattr(sys, "argv", ["claims_report.py", *map(str, options)])
    assert claims_report.main() == 0
    assert (tmp_path / "best_of_n.png").is_file()
    assert not (tmp_path / "ambiguity_gain.png").exists()


def test_only_evaluations_that_all_seeds_have_count(results):
    file_errors(results, "diffpose", 4, 0, ("ema",))
    assert set(read_runs(results)[1]["diffpose"].evaluations) == {"ema"}


def test_log_without_validations_is_refused(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 50, "loss": 0.5}\n')
    with pytest.raises(DiffPoseError, match=r"not a log\.jsonl with validations"):
        claims_report.plot_learning(tmp_path / "x.png", [log])
