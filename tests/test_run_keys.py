"""Every configuration key that shapes a run does what it says, and no key is forgotten."""

import json

import numpy as np
import pytest
import torch

import tests.test_model_keys  # noqa: F401  (its tests cover the other keys)
from data.loader import make_loader
from data.splits import evaluation_set, training_set, validation_set
from models import build_model, build_sampler, build_trainer
from models.flip import FlipSampler
from models.run import load_run
from models.samplers import Ancestral, Ddim, DpmSolver, PoseSampler
from models.trainer import Trainer, learning_rate
from tests.support.config_keys import COVERED, covers
from train import open_run_folder
from utils.config import known_keys, load_config
from utils.errors import DiffPoseError


def trainer(config):
    return Trainer(build_model(config), config, seed=0)


@covers("TRAIN.START_FROM")
def test_start_from(script, tiny, trained, tmp_path):
    source = trained / "model-final.pt"
    arguments = ("--config", tiny, "--seed", "3", "--device", "cpu", "--no_eval", "--do_not_use_wandb")
    settings = ("TRAIN.NUM_STEPS=1", "TRAIN.LR=1e-12", f"TRAIN.START_FROM={source}")
    code, _, err = script("train", *arguments, "--run_name", "on", "--resume", "--set", *settings)  # nothing to resume
    assert code == 0, err
    old, new = (
        torch.load(path, weights_only=True)["model"] for path in (source, tmp_path / "run_on" / "model-final.pt")
    )
    torch.testing.assert_close(new, old, rtol=1e-4, atol=1e-8)
    missing = f"TRAIN.START_FROM={tmp_path}/none.pt"
    code, _, err = script("train", *arguments, "--run_name", "no", "--set", missing)
    assert (code, err.count("\n")) == (2, 1)
    assert "none.pt" in err


@covers("OUTPUT_DIR")
def test_output_dir(make, tmp_path):
    folder = open_run_folder(make(f"OUTPUT_DIR={tmp_path}/there"), "name", resume=False)
    assert folder == tmp_path / "there_name"
    assert (folder / "config.yaml").is_file()


@covers("DATASET.ROOT", "DATASET.TRAINFILE", "DATASET.TESTFILE", "DATASET.VALFILE")
def test_files(make, tmp_path):
    moved = make(f"DATASET.ROOT={tmp_path}")
    with pytest.raises(DiffPoseError, match=str(tmp_path / "tiny.h5")):
        training_set(moved)
    for key, opens in (("TRAINFILE", training_set), ("VALFILE", validation_set)):
        with pytest.raises(DiffPoseError, match=r"other\.h5"):
            opens(make(f"DATASET.{key}=other.h5"))
    with pytest.raises(DiffPoseError, match=r"other\.h5"):
        evaluation_set(make("DATASET.TESTFILE=other.h5"), "full")


@covers("MODEL.NAME")
def test_model_name(make, tmp_path):
    folder = open_run_folder(make(f"OUTPUT_DIR={tmp_path}/r", "MODEL.NAME=mine"), "x", resume=False)
    assert load_config(folder / "config.yaml").model.name == "mine"


@covers("TRAIN.BATCH_SIZE_PER_GPU", "TRAIN.SHUFFLE", "WORKERS", "PIN_MEMORY")
def test_loading(script, tiny, monkeypatch):
    import train as train_script

    seen = {}

    def spy(dataset, **options):
        seen.update(options)
        return make_loader(dataset, **options)

    monkeypatch.setattr(train_script, "make_loader", spy)
    code, _, err = script(
        "train",
        "--config",
        tiny,
        "--run_name",
        "l",
        "--no_eval",
        "--do_not_use_wandb",
        "--set",
        "TRAIN.BATCH_SIZE_PER_GPU=5",
        "TRAIN.SHUFFLE=false",
        "WORKERS=1",
        "PIN_MEMORY=true",
        "TRAIN.NUM_STEPS=1",
        "MODEL.EXTRA.SAMPLEABLE=true",
        "TRAIN.SAVE_EVERY=0",
    )
    assert code == 0, err
    assert (seen["batch_size"], seen["shuffle"], seen["workers"]) == (5, False, 1)
    assert seen["pin_memory"] is False, "page-locked memory is for a GPU"


@covers("TRAIN.AUGMENT")
def test_augment(script, make, tiny, monkeypatch):
    import train as train_script

    seen = []
    monkeypatch.setattr(train_script, "augmented", lambda batches, **options: seen.append(options) or batches)
    for value in ("false", "true"):
        settings = (f"TRAIN.AUGMENT={value}", "TRAIN.NUM_STEPS=1", "TRAIN.SAVE_EVERY=0")
        code, _, err = script(
            "train", "--config", tiny, "--run_name", value, "--no_eval", "--do_not_use_wandb", "--set", *settings
        )
        assert code == 0, err
    assert [options["global_batch"] for options in seen] == [6]  # what it does: test_augmentation.py
    with pytest.raises(DiffPoseError, match=r"TRAIN\.AUGMENT"):
        make(
            "TRAIN.AUGMENT=true", "MODEL.CONDITION_TYPE=pose_2d", "MODEL.CONDITION_KEY=p2d_gt", "MODEL.CONDITION_DIM=32"
        )


@covers("TRAIN.ON_DEVICE")
def test_on_device(script, make, tiny):
    """The same weights as from rows that are read for each batch, whatever the workers; a resumed run as well."""
    folder = tiny.parent
    for name, settings in (
        ("read", ()),
        ("held", ("TRAIN.ON_DEVICE=true",)),
        ("both", ("TRAIN.NUM_STEPS=2",)),
        ("both", ("TRAIN.ON_DEVICE=true", "WORKERS=1")),
    ):
        code, _, err = script(
            "train",
            "--config",
            tiny,
            "--run_name",
            name,
            "--no_eval",
            "--do_not_use_wandb",
            "--resume",
            "--set",
            "TRAIN.SAVE_EVERY=2",
            *settings,
        )
        assert code == 0, err
    whole, *others = (torch.load(folder / f"run_{name}" / "model-final.pt") for name in ("read", "held", "both"))
    for other in others:
        assert all(torch.equal(value, other["model"][name]) for name, value in whole["model"].items())
    for setting in ("TRAIN.AUGMENT=true", "MODEL.EXTRA.NO_REPLACEMENT=true", "MODEL.EXTRA.FULL_HEATMAP=true"):
        with pytest.raises(DiffPoseError, match=r"TRAIN\.ON_DEVICE"):
            make("TRAIN.ON_DEVICE=true", setting)


@covers("TRAIN.CUDA_GRAPH")
def test_cuda_graph(make):
    """On a CPU without effect; what it does is in test_step_graph.py."""
    config = make("TRAIN.CUDA_GRAPH=true")
    assert build_trainer(build_model(config), config, seed=0).recorder is None


@covers("TRAIN.NUM_STEPS", "TRAIN.LR", "TRAIN.USE_STEP_LR", "TRAIN.USE_EXP_DECAY", "TRAIN.OPTIMIZER")
def test_optimisation(make):
    config = make(
        "TRAIN.NUM_STEPS=3000",
        "TRAIN.LR=0.01",
        "TRAIN.USE_STEP_LR=true",
        "TRAIN.USE_EXP_DECAY=true",
        "TRAIN.OPTIMIZER=adamw",
    )
    assert learning_rate(config, 2000) == pytest.approx(0.01 * 0.1 * 0.995**2)
    assert type(trainer(config).optimizer) is torch.optim.AdamW  # and in test_trainer.py


@covers("TRAIN.GRADIENT_ACCUMULATE_EVERY", "TRAIN.CLIP_GRAD", "TRAIN.AMP", "TRAIN.AMP_DTYPE", "TRAIN.EMA_DECAY")
def test_steps(make):
    """What they do is tested in test_trainer.py; here, that the trainer gets them."""
    config = make(
        "TRAIN.GRADIENT_ACCUMULATE_EVERY=3", "TRAIN.CLIP_GRAD=2.5", "TRAIN.AMP_DTYPE=float16", "TRAIN.EMA_DECAY=0.9"
    )
    learner = trainer(config)
    assert (learner.config.train.gradient_accumulate_every, learner.config.train.clip_grad) == (3, 2.5)
    assert (learner.amp_dtype, learner.ema.decay) == (torch.float16, 0.9)
    assert trainer(make("TRAIN.AMP=false")).amp_dtype is None


@covers("TRAIN.RESUME", "TRAIN.CHECKPOINT")
def test_resume(make):
    assert make("TRAIN.RESUME=a.pt").train.resume_from == "a.pt"
    assert make("TRAIN.RESUME=true", "TRAIN.CHECKPOINT=b.pt").train.resume_from == "b.pt"
    assert make("TRAIN.CHECKPOINT=b.pt").train.resume_from == ""  # end to end: test_cli.py


@covers(
    "TRAIN.SAVE_EVERY",
    "TRAIN.KEEP",
    "TRAIN.LOG_EVERY",
    "TRAIN.VALIDATE_EVERY",
    "TRAIN.VALIDATE_FRAMES",
    "TRAIN.VALIDATE_HYPO",
)
def test_schedule(script, tiny, monkeypatch):
    import train as train_script

    shapes = []
    evaluate = train_script.evaluate

    def spy(batches, **options):
        def watch():
            for batch in batches:
                shapes.append(tuple(batch["hypotheses_mm"].shape[:2]))
                yield batch

        return evaluate(watch(), **options)

    monkeypatch.setattr(train_script, "evaluate", spy)
    code, _, err = script(
        "train",
        "--config",
        tiny,
        "--run_name",
        "k",
        "--no_eval",
        "--do_not_use_wandb",
        "--set",
        "TRAIN.SAVE_EVERY=1",
        "TRAIN.KEEP=3",
        "TRAIN.LOG_EVERY=2",
        "TRAIN.NUM_STEPS=5",
        "TRAIN.VALIDATE_EVERY=5",
        "TRAIN.VALIDATE_FRAMES=3",
        "TRAIN.VALIDATE_HYPO=2",
    )
    assert code == 0, err
    folder = tiny.parent / "run_k"
    assert sorted(path.name for path in folder.glob("state-*")) == ["state-3.pt", "state-4.pt", "state-5.pt"]
    assert len(list(folder.glob("model-[0-9]*.pt"))) == 4
    logged = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in logged if "loss" in line] == [2, 4]
    assert shapes == [(3, 2)]


@covers("TRAIN.SUBJECTS", "TRAIN.VALIDATE_SUBJECTS", "TEST.SUBJECTS", "TEST.ACTIONS", "TEST.STRIDE")
def test_selection(make):
    config = make(
        "TRAIN.SUBJECTS=[S1]",
        "TRAIN.VALIDATE_SUBJECTS=[S5, S6]",
        "TRAIN.VALIDATE_FRAMES=1000",
        "TEST.SUBJECTS=[S9]",
        "TEST.ACTIONS=[Eating, Walking]",
        "TEST.STRIDE=2",
    )
    assert set(training_set(config).meta["subject"]) == {"S1"}
    validation = validation_set(config)
    assert set(np.array(validation.dataset.meta["subject"])[validation.indices]) == {"S5", "S6"}
    test = evaluation_set(config, "full")
    assert set(test.meta["subject"]) == {"S9"}
    assert set(test.meta["action"]) == {"Eating", "Walking"}
    assert bool((test.rows % 2 == 0).all())


@covers("TEST.NUM_HYPO", "TEST.CHUNK", "TEST.PRECISION")
def test_sampling(make):
    config = make("TEST.NUM_HYPO=3", "TEST.CHUNK=2", "TEST.PRECISION=float16")
    sampler = build_sampler(build_model(config), config)
    assert (sampler.num_hypotheses, sampler.chunk, sampler.network.dtype) == (3, 2, torch.float16)


@covers("TEST.SAMPLER", "TEST.STEPS", "TEST.ETA", "TEST.VARIANCE", "TEST.CONDITION_SETS", "TEST.FLIP")
def test_samplers(make):
    """What they do is tested in test_samplers_known_answers.py; here, that the sampler gets them."""

    def build(*settings):
        config = make("TEST.NUM_HYPO=6", *settings)
        return build_sampler(build_model(config), config)

    plain, ddim = build(), build("TEST.SAMPLER=ddim", "TEST.STEPS=2", "TEST.ETA=0.5", "TEST.CONDITION_SETS=2")
    assert (type(plain.sampler), plain.sampler.variance, plain.sampler.pairs[-1]) == (Ancestral, "posterior", (0, -1))
    assert (len(plain.sampler.pairs), plain.condition_sets) == (3, 6)
    assert (type(ddim.sampler), ddim.sampler.eta, ddim.sampler.pairs) == (Ddim, 0.5, [(2, 0), (0, -1)])
    assert ddim.condition_sets == 2
    assert build("TEST.VARIANCE=upper").sampler.variance == "upper"
    assert type(build("TEST.SAMPLER=dpm_solver").sampler) is DpmSolver
    assert (type(plain), type(build("TEST.FLIP=true"))) == (PoseSampler, FlipSampler)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["TEST.ETA=0.5"], r"TEST\.ETA: it is for SAMPLER ddim, got SAMPLER ancestral"),
        (["TEST.SAMPLER=ddim", "TEST.VARIANCE=upper"], r"TEST\.VARIANCE: upper is for SAMPLER ancestral"),
        (["TEST.STEPS=4"], r"TEST\.STEPS: at most MODEL\.TIMESTEPS \(3\)"),
        (["TEST.CONDITION_SETS=2", "MODEL.EXTRA.SAMPLEABLE=false"], r"TEST\.CONDITION_SETS: all hypotheses share one"),
        (
            ["TEST.FLIP=true", "MODEL.CONDITION_TYPE=pose_2d", "MODEL.CONDITION_KEY=p2d_gt", "MODEL.CONDITION_DIM=32"],
            r"TEST\.FLIP: it mirrors heatmaps",
        ),
        (["TEST.SAMPLER=euler_maruyama"], r"TEST\.SAMPLER: got the text 'euler_maruyama', expected one of auto"),
    ],
)
def test_samplers_that_cannot_be(make, settings, message):
    with pytest.raises(DiffPoseError, match=message) as caught:
        make(*settings)
    assert "\n" not in str(caught.value)


def test_optimal_variance_is_measured_by_eval_and_kept(script, make, trained, tmp_path):
    """eval.py measures it where the run has none, says from which rows, and takes its own file the next time."""
    kept = trained / "start_variance.json"
    config = load_config(trained / "config.yaml", ["TEST.VARIANCE=optimal"])
    with pytest.raises(DiffPoseError, match=r"eval\.py --variance optimal"):
        build_sampler(build_model(config), config)
    args = ("eval", "--config", trained / "config.yaml", "--do_not_use_wandb", "--no_pictures", "--output", tmp_path)
    code, out, err = script(*args, "--variance", "optimal")
    assert code == 0, err
    assert "optimal variance measured on 30 validation rows of tiny.h5 (all subjects)" in out
    written = kept.read_text()
    assert len(json.loads(written)["start_variance"]) == 3
    assert min(json.loads(written)["start_variance"]) > 0
    _, model, _ = load_run(trained / "config.yaml", overrides=["TEST.VARIANCE=optimal"])
    assert model.start_variance.tolist() == pytest.approx(json.loads(written)["start_variance"])
    kept.write_text(written.replace('"weights": ', '"weights": 1'))  # of other weights
    code, _, err = script(*args, "--variance", "optimal")
    assert code == 0, err
    assert kept.read_text() == written
    kept.write_text("{")
    code, _, err = script(*args, "--variance", "optimal")
    assert code
    assert "start_variance.json: not a readable measurement" in err
    kept.unlink()


@covers("TEST.BATCH_SIZE_PER_GPU", "TEST.WEIGHTS")
def test_evaluation(script, trained, tmp_path):
    args = ("eval", "--config", trained / "config.yaml", "--do_not_use_wandb", "--no_pictures", "--output", tmp_path)
    best = []
    for weights in ("raw", "ema"):
        code, out, err = script(*args, "--set", f"TEST.WEIGHTS={weights}", "TEST.BATCH_SIZE_PER_GPU=15")
        assert code == 0, err
        assert f"weights {weights}" in out
        assert "/2 [" in err, "30 frames in batches of 15"
        best.append(json.loads((tmp_path / "report.json").read_text())["results"][0]["rows"]["best"]["mpjpe"])
    # Through step 100 the average is a plain copy, made every tenth step: 4 steps in, it is that of step 0.
    assert best[0] != best[1]


def test_no_key_is_forgotten():
    assert set(known_keys()) == COVERED
