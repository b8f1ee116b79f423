"""Every configuration key does what it says: one check a key, and none is forgotten."""

import json

import numpy as np
import pytest
import torch

from data.loader import make_loader
from data.splits import evaluation_set, training_set, validation_set
from models import build_model
from models.condition_embedding import CandidateConcatenation, HeatmapEmbedding, PoseCondition
from models.run import build_sampler
from models.trainer import Trainer, learning_rate
from train import open_run_folder
from utils.config import change_config, known_keys, load_config
from utils.errors import DiffPoseError

BASE = ("MODEL.CONDITION_DIM=8", "MODEL.TIMESTEPS=3", "MODEL.EXTRA.NUM_SAMPLES=4", "TRAIN.NUM_STEPS=6")
CONCAT = (
    "MODEL.CONDITION_TYPE=heatmap_sampling_concatenated",
    "MODEL.CONDITION_DIM=-1",
    "MODEL.DENOISER_TYPE=base_concat",
)


@pytest.fixture
def make(tiny):
    """make('KEY=value', ..) -> configuration of the tiny data."""
    base = load_config(tiny)
    return lambda *settings: change_config(base, [*BASE, *settings])


def trainer(config):
    return Trainer(build_model(config), config, seed=0)


CHECKS = {}


def check(*keys):
    def register(function):
        CHECKS.update(dict.fromkeys(keys, function))
        return function

    return register


@check("OUTPUT_DIR")
def output_dir(make, tmp_path):
    folder = open_run_folder(make(f"OUTPUT_DIR={tmp_path}/there"), "name", resume=False)
    assert folder == tmp_path / "there_name"
    assert (folder / "config.yaml").is_file()


@check("DATASET.ROOT", "DATASET.TRAINFILE", "DATASET.TESTFILE", "DATASET.VALFILE")
def files(make, tmp_path):
    moved = make(f"DATASET.ROOT={tmp_path}")
    with pytest.raises(DiffPoseError, match=str(tmp_path / "tiny.h5")):
        training_set(moved)
    for key, opens in (("TRAINFILE", training_set), ("VALFILE", validation_set)):
        with pytest.raises(DiffPoseError, match=r"other\.h5"):
            opens(make(f"DATASET.{key}=other.h5"))
    with pytest.raises(DiffPoseError, match=r"other\.h5"):
        evaluation_set(make("DATASET.TESTFILE=other.h5"), "full")


@check("DATASET.DATASET", "DATASET.NUM_JOINTS", "DATASET.COND_JOINTS", "DATASET.DATA_FORMAT")
def dataset(make, tmp_path):
    assert build_model(make()).denoise_fn.parts[0] == 48
    smpl = make("DATASET.DATASET=3dpw", "DATASET.NUM_JOINTS=23")
    assert build_model(smpl).denoise_fn.parts[0] == 72
    for setting in ("DATASET.COND_JOINTS=17", "DATASET.NUM_JOINTS=23", "DATASET.DATA_FORMAT=npz"):
        with pytest.raises(DiffPoseError, match=setting.partition("=")[0]):
            make(setting)


@check("MODEL.NAME")
def model_name(make, tmp_path):
    folder = open_run_folder(make(f"OUTPUT_DIR={tmp_path}/r", "MODEL.NAME=mine"), "x", resume=False)
    assert load_config(folder / "config.yaml").model.name == "mine"


@check("MODEL.CONDITION_TYPE", "MODEL.CONDITION_KEY", "MODEL.DENOISER_TYPE", "MODEL.CONDITION_DIM")
def condition(make, tmp_path):
    assert isinstance(build_model(make()).condition_emb, HeatmapEmbedding)
    assert build_model(make("MODEL.CONDITION_DIM=5")).denoise_fn.parts[2] == 80
    concatenated = build_model(make(*CONCAT))
    assert isinstance(concatenated.condition_emb, CandidateConcatenation)
    assert concatenated.denoise_fn.parts[2] == 16 * 4 * 2
    for key in ("p2d_hrnet", "p2d_gt"):
        pose = make("MODEL.CONDITION_TYPE=pose_2d", f"MODEL.CONDITION_KEY={key}", "MODEL.CONDITION_DIM=32")
        assert isinstance(build_model(pose).condition_emb, PoseCondition)
        assert training_set(pose)[0]["pose_2d"].shape == (32,)
    with pytest.raises(DiffPoseError, match="DENOISER_TYPE"):
        make("MODEL.DENOISER_TYPE=base_concat")


@check("MODEL.DIFFUSION_OBJECTIVE", "LOSS.LOSS_TYPE", "MODEL.TIMESTEPS", "MODEL.NOISE_SCALE", "TRAIN.SCALE_3D_POSE")
def diffusion(make, tmp_path):
    model = build_model(
        make(
            "MODEL.DIFFUSION_OBJECTIVE=pred_noise",
            "LOSS.LOSS_TYPE=l1",
            "MODEL.TIMESTEPS=7",
            "MODEL.NOISE_SCALE=0.5",
            "TRAIN.SCALE_3D_POSE=3",
        )
    )
    assert (model.objective, model.loss_type, len(model.betas)) == ("pred_noise", "l1", 7)
    assert (model.noise_scale, model.pose_scale) == (0.5, 3)  # what they do: test_sampling.py, test_diffusion.py


@check("TRAIN.COSINE_OFFSET")
def cosine_offset(make, tmp_path):
    betas = [build_model(make(f"TRAIN.COSINE_OFFSET={offset}")).betas for offset in (0.008, 0.1)]
    assert not torch.allclose(*betas)


@check(
    "MODEL.EXTRA.NUM_SAMPLES",
    "MODEL.EXTRA.WITHOUT_ARGMAX",
    "MODEL.EXTRA.NO_REPLACEMENT",
    "MODEL.EXTRA.NORM_METHOD",
    "MODEL.EXTRA.CONDITION_ORDERED_SAMPLES",
)
def candidates(make, tmp_path):
    sampler = build_model(
        make(
            *CONCAT,
            "MODEL.EXTRA.NUM_SAMPLES=9",
            "MODEL.EXTRA.WITHOUT_ARGMAX=true",
            "MODEL.EXTRA.NO_REPLACEMENT=true",
            "MODEL.EXTRA.NORM_METHOD=mean_std_per_sample",
            "MODEL.EXTRA.CONDITION_ORDERED_SAMPLES=true",
        )
    ).heatmap_sampler
    assert (sampler.num_samples, sampler.num_drawn, sampler.replacement, sampler.ordered) == (9, 9, False, True)
    assert sampler.norm_method == "mean_std_per_sample"  # what they do: test_heatmap_sampler.py
    assert build_model(make("MODEL.EXTRA.NORM_METHOD=mean_std")).heatmap_sampler.norm_method == "image"
    other = make("MODEL.EXTRA.NORM_METHOD=mean_std", "MODEL.EXTRA.POS_EMB=sin")
    assert build_model(other).heatmap_sampler.norm_method == "mean_std"


@check("MODEL.EXTRA.SAMPLEABLE", "MODEL.EXTRA.FULL_HEATMAP")
def sampleable(make, tmp_path):
    assert build_model(make()).sampleable
    assert not build_model(make("MODEL.EXTRA.SAMPLEABLE=false")).sampleable
    assert build_model(make("MODEL.EXTRA.FULL_HEATMAP=true")).heatmap_sampler is None


@check(
    "MODEL.EXTRA.POS_EMB",
    "MODEL.EXTRA.PROJ_POS_EMB",
    "MODEL.EXTRA.WITHOUT_TRANSFORMER",
    "MODEL.EXTRA.OLD",
    "MODEL.EXTRA.WITHOUT_POSEMB_SCALING",
    "MODEL.EXTRA.DROP_METHOD",
    "MODEL.EXTRA.DROP_PROB",
)
def embedding(make, tmp_path):
    plain = build_model(make()).condition_emb
    assert plain.pos_proj is not None
    assert plain.transformer is not None
    assert plain.scale_by_likelihood
    assert plain.pos_out.in_features == 2048
    other = build_model(
        make(
            "MODEL.EXTRA.POS_EMB=linear",
            "MODEL.EXTRA.PROJ_POS_EMB=false",
            "MODEL.EXTRA.OLD=true",
            "MODEL.EXTRA.WITHOUT_TRANSFORMER=true",
            "MODEL.EXTRA.WITHOUT_POSEMB_SCALING=true",
            "MODEL.EXTRA.DROP_METHOD=uncertain",
            "MODEL.EXTRA.DROP_PROB=0.4",
        )
    ).condition_emb
    assert not other.separable
    assert other.pos_proj is None
    assert other.transformer is None
    assert not other.scale_by_likelihood
    assert other.pos_out.in_features == 128
    assert (other.drop_method, other.drop_prob) == ("uncertain", 0.4)  # what they do: test_condition_embedding.py


@check("MODEL.EXTRA.CONCAT_LIKELIHOOD")
def concat_likelihood(make, tmp_path):
    assert build_model(make(*CONCAT, "MODEL.EXTRA.CONCAT_LIKELIHOOD=true")).denoise_fn.parts[2] == 16 * 4 * 3


@check("TRAIN.BATCH_SIZE_PER_GPU", "TRAIN.SHUFFLE", "WORKERS", "PIN_MEMORY")
def loading(script, tiny, monkeypatch):
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


@check("TRAIN.AUGMENT")
def augment(script, make, tiny, monkeypatch):
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


@check("TRAIN.ON_DEVICE")
def on_device(script, make, tiny):
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


@check("TRAIN.CUDA_GRAPH")
def cuda_graph(make, tmp_path):
    """On a CPU without effect; what it does is in test_step_graph.py."""
    assert trainer(make("TRAIN.CUDA_GRAPH=true"))._graph is None


@check("TRAIN.NUM_STEPS", "TRAIN.LR", "TRAIN.USE_STEP_LR", "TRAIN.USE_EXP_DECAY", "TRAIN.OPTIMIZER")
def optimisation(make, tmp_path):
    config = make(
        "TRAIN.NUM_STEPS=3000",
        "TRAIN.LR=0.01",
        "TRAIN.USE_STEP_LR=true",
        "TRAIN.USE_EXP_DECAY=true",
        "TRAIN.OPTIMIZER=adamw",
    )
    assert learning_rate(config, 2000) == pytest.approx(0.01 * 0.1 * 0.995**2)
    assert type(trainer(config).optimizer) is torch.optim.AdamW  # and in test_trainer.py


@check("TRAIN.GRADIENT_ACCUMULATE_EVERY", "TRAIN.CLIP_GRAD", "TRAIN.AMP", "TRAIN.AMP_DTYPE", "TRAIN.EMA_DECAY")
def steps(make, tmp_path):
    """What they do is tested in test_trainer.py; here, that the trainer gets them."""
    config = make(
        "TRAIN.GRADIENT_ACCUMULATE_EVERY=3", "TRAIN.CLIP_GRAD=2.5", "TRAIN.AMP_DTYPE=float16", "TRAIN.EMA_DECAY=0.9"
    )
    learner = trainer(config)
    assert (learner.config.train.gradient_accumulate_every, learner.config.train.clip_grad) == (3, 2.5)
    assert (learner.amp_dtype, learner.ema.decay) == (torch.float16, 0.9)
    assert trainer(make("TRAIN.AMP=false")).amp_dtype is None


@check("TRAIN.RESUME", "TRAIN.CHECKPOINT")
def resume(make, tmp_path):
    assert make("TRAIN.RESUME=a.pt").train.resume_from == "a.pt"
    assert make("TRAIN.RESUME=true", "TRAIN.CHECKPOINT=b.pt").train.resume_from == "b.pt"
    assert make("TRAIN.CHECKPOINT=b.pt").train.resume_from == ""  # end to end: test_cli.py


@check(
    "TRAIN.SAVE_EVERY",
    "TRAIN.KEEP",
    "TRAIN.LOG_EVERY",
    "TRAIN.VALIDATE_EVERY",
    "TRAIN.VALIDATE_FRAMES",
    "TRAIN.VALIDATE_HYPO",
)
def schedule(script, tiny, monkeypatch):
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


@check("TRAIN.SUBJECTS", "TRAIN.VALIDATE_SUBJECTS", "TEST.SUBJECTS", "TEST.ACTIONS", "TEST.STRIDE")
def selection(make, tmp_path):
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


@check("TEST.NUM_HYPO", "TEST.CHUNK", "TEST.PRECISION")
def sampling(make, tmp_path):
    config = make("TEST.NUM_HYPO=3", "TEST.CHUNK=2", "TEST.PRECISION=bfloat16")
    sampler = build_sampler(build_model(config), config)
    assert (sampler.num_hypotheses, sampler.chunk, sampler.dtype) == (3, 2, torch.bfloat16)


@check("TEST.BATCH_SIZE_PER_GPU", "TEST.WEIGHTS")
def evaluation(script, trained, tmp_path):
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
    assert set(CHECKS) == set(known_keys())


@pytest.mark.parametrize("function", sorted(set(CHECKS.values()), key=lambda f: f.__name__), ids=lambda f: f.__name__)
def test_key(function, request):
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    function(**{name: request.getfixturevalue(name) for name in names})
