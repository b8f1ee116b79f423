"""The benchmark's plain reference computes what the system computes, and its table says what was measured."""

import json
import sys

import pytest
import torch

from experiments.bench import bench, table, timing
from experiments.bench.plain import PlainTrainer, align, all_metrics
from models.reference import DiffPose
from utils.errors import DiffPoseError
from utils.evaluation.frame_scores import score_frames
from utils.evaluation.metrics import METRICS
from utils.geometry import similarity_align
from utils.skeleton import H36M17


def test_plain_training_step_lowers_the_loss():
    trainer = PlainTrainer(DiffPose(condition_dim=8), rate=1e-3, ema_decay=0.9)
    maps, targets = bench.heatmaps_and_targets(8, torch.device("cpu"))
    losses = [trainer.step(maps, targets) for _ in range(12)]
    assert sum(losses[-4:]) < sum(losses[:4])


def test_plain_metrics_equal_the_fast_ones():
    generator = torch.Generator().manual_seed(0)
    truth = 300 * torch.randn(3, 17, 3, generator=generator)
    hypotheses = truth[:, None] + 80 * torch.randn(3, 11, 17, 3, generator=generator)
    plain = all_metrics(hypotheses, truth, H36M17)
    ours = score_frames(hypotheses, None, truth, H36M17).scores
    for place, metric in enumerate(METRICS):
        order = ("worst", "median", "mean", "best") if metric.higher_is_better else ("best", "median", "mean", "worst")
        for row, values in zip(order, plain[metric.key], strict=True):
            theirs = torch.from_numpy(ours[row][:, place])
            torch.testing.assert_close(values, theirs, rtol=1e-3, atol=0.6 if metric.key == "cps" else 1e-3)
    flat, target = hypotheses[0], truth[:1].expand(11, -1, -1)
    torch.testing.assert_close(align(flat, target), similarity_align(flat, target), rtol=1e-3, atol=0.05)


def test_the_speed_table_in_the_docs_is_that_of_the_committed_measurement():
    text = (bench.ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert "<!-- speed -->" in text
    for name in ("cpu", "few_steps", "exported"):
        found = table.read(bench.ROOT / "experiments" / "bench" / "results" / f"{name}.json")
        assert table.with_table(text, found) == text, "run experiments/bench/table.py --into docs/speed.md"


def test_the_table_of_few_steps_compares_with_the_chain_of_the_same_run():
    seconds = {"chain": 2.0, "ddim_10": 1.0, "ddim_5": 0.8, "ddim_5_sets": 0.5}
    found = {
        "machine": {
            **{"cpu": "a chip (no bfloat16 units)", "threads": 2, "torch": "2", "gpu": None},
            **{"date": "2026-01-01", "command": "go"},
        },
        "cases": {
            "ceilings": {"gflops": {"float32": 320.0, "bfloat16": 1.0}},
            "few_steps": {"seconds": seconds, "hypotheses": 1600},
            "few_steps_evaluation": {"seconds": {name: value / 10 for name, value in seconds.items()}},
        },
    }
    made = table.with_table("<!-- few steps -->\n<!-- end of few steps -->\n", found)
    assert "| ddim, 5 steps | 2,000 hypotheses/s (2.5x) | 42 % | 80 ms (2.5x) |" in made
    assert "| published chain, 25 steps | 800 hypotheses/s (1.0x) | 50 % | 200 ms (1.0x) |" in made


def test_the_table_of_exported_graphs_compares_with_our_own_networks_of_the_same_run():
    seconds = {"chain": 2.0, "chain_onnx": 4.0, "ddim_5": 0.5, "ddim_5_onnx": 0.8}
    found = {
        "machine": {"cpu": "a chip", "threads": 2, "torch": "2", "gpu": None, "date": "2026-01-01", "command": "go"},
        "cases": {"exported": {"seconds": seconds, "hypotheses": 1600}},
    }
    made = table.with_table("<!-- exported -->\n<!-- end of exported -->\n", found)
    assert "| published chain, 25 steps | 800 hypotheses/s | 400 hypotheses/s (0.50x) |" in made
    assert "| ddim, 5 steps | 3,200 hypotheses/s | 2,000 hypotheses/s (0.62x) |" in made


def test_table_says_what_was_measured(tmp_path):
    found = {
        "machine": {"cpu": "a chip", "threads": 2, "torch": "2", "gpu": None, "date": "2026-01-01", "command": "go"},
        "cases": {
            "training": {"seconds": {"plain": 0.4, "float32": 0.2, "bfloat16": 0.1}},
            "sampling": {"seconds": {"plain": 4.0, "float32": 2.0, "bfloat16": 1.0}, "hypotheses": 1600},
        },
    }
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(found))
    text = table.table(table.read(path))
    assert "| 400 ms | 200 ms (2.0x) | 100 ms (4.0x) |" in text
    document = "before\n<!-- speed -->\nold\n<!-- end of speed -->\nafter\n"
    assert table.with_table(document, found) == document.replace("old\n", text)
    assert "| 400 hypotheses/s | 800 hypotheses/s (2.0x) | 1,600 hypotheses/s (4.0x) |" in text
    assert "a chip, 2 threads" in text


def test_cases_of_a_gpu_are_refused_on_a_cpu_and_shown_in_the_table():
    assert "tf32" not in bench.CASES["sampling"].on(torch.device("cpu"))
    assert "graph" in bench.CASES["training"].on(torch.device("cuda"))
    assert set(bench.cases_on(torch.device("cuda"))) - set(bench.cases_on(torch.device("cpu"))) == set(bench.CUDA_CASES)
    found = {
        "machine": {"cpu": "a", "threads": 2, "torch": "2", "gpu": "a GPU", "date": "2026-01-01", "command": "go"},
        "cases": {
            "ceilings": {"gflops": {"bfloat16": 800_000.0}},
            "training": {"seconds": {"plain": 0.01, "bfloat16": 0.005, "graph": 0.001}, "batch": 64},
            "sampling": {"seconds": {"plain": 0.5, "tf32": 0.1}, "hypotheses": 1600},
            "sampling_large": {"seconds": {"bfloat16": 0.04}, "hypotheses": 64_000},
            "evaluation_batch_64": {"seconds": {"plain": 0.1, "bfloat16": 0.01}, "peak_mb": 100},
            "evaluation_large": {"seconds": {"bfloat16": 0.001}, "peak_mb": 100},
        },
    }
    text = table.table(found)
    assert "| work | plain, float32 | ours, tf32 | ours, bfloat16 | ours, bfloat16, CUDA graph |" in text
    assert "| 10 ms | - | 5.0 ms (2.0x) | 1.0 ms (10.0x) |" in text
    assert "| - | - | 1,600,000 hypotheses/s | - |" in text
    assert "40 % in bfloat16" in text
    assert "700,000 training steps take 11.7 min" in text
    assert "17,000 frames x 200 takes 0.3 min" in " ".join(text.split())


def test_variants_in_processes_of_their_own_are_timed_in_turn():
    program = (
        "import time, torch\n"
        "from experiments.bench import timing\n"
        "timing.TURN_S = 0.01\n"
        "timing.serve(lambda: time.sleep({}), torch.device('cpu'))\n"
    )
    commands = {name: [sys.executable, "-c", program.format(s)] for name, s in (("slow", 0.1), ("fast", 0.02))}
    seconds, peaks = timing.medians_apart(commands, repeats=3, once=("slow",))
    assert 0.1 <= seconds["slow"] < 0.2
    assert 0.02 <= seconds["fast"] < 0.1
    assert all(peak > 10 for peak in peaks.values())


def test_variant_that_fails_is_named_with_its_reason():
    commands = {"ours": [sys.executable, "-c", "raise SystemExit('out of luck')"]}
    with pytest.raises(DiffPoseError, match="variant ours failed: out of luck"):
        timing.medians_apart(commands, repeats=1)


@pytest.mark.parametrize("case", [pytest.param("training", marks=pytest.mark.slow), "metrics"])
def test_a_case_is_measured_through_its_own_processes(case):
    found = bench.measure(case, "cpu", 1)
    assert all(value > 0 for value in found["seconds"].values())
    assert "plain" in found["seconds"]
    assert found["peak_mb"] > 100
