"""The optimisation loop: repeatable, resumable, and every TRAIN key does what it says."""

import math

import pytest
import torch
from torch import nn

from models import build_model
from models.trainer import Trainer, learning_rate
from train import fit
from utils import precision
from utils.checkpoint import load_training_state, save_training_state
from utils.config import parse_config
from utils.errors import DiffPoseError
from utils.randomness import seed_of

pytestmark = pytest.mark.usefixtures("narrow")

MODEL = {
    "CONDITION_TYPE": "embedded_poseformer",
    "CONDITION_DIM": 8,
    "CONDITION_KEY": "heatmaps",
    "TIMESTEPS": 25,
    "EXTRA": {"NUM_SAMPLES": 4, "SAMPLEABLE": True, "POS_EMB": "channel", "OLD": False, "DROP_METHOD": "any"},
}


def config(**train):
    base = {"NUM_STEPS": 6, "LR": 1e-3, "BATCH_SIZE_PER_GPU": 4, "GRADIENT_ACCUMULATE_EVERY": 1, "AMP": False}
    return parse_config({"MODEL": MODEL, "TRAIN": base | train, "LOSS": {"LOSS_TYPE": "l2"}})


def trainer(seed=1, **train):
    torch.manual_seed(seed_of(seed, "weights"))
    settings = config(**train)
    return Trainer(build_model(settings), settings, seed=seed)


def batches(start=0, size=4):
    """Batch k depends on k alone."""
    k = start
    while True:
        generator = torch.Generator().manual_seed(k)
        maps = torch.rand(size, 16, 64, 64, generator=generator) ** 8
        yield {"heatmap": maps.half(), "target_m": torch.randn(size, 16, 3, generator=generator)}
        k += 1


def run(trainer, start=0, stop=None):
    losses = []

    def after_step(result):
        losses.append(float(result.loss))
        return stop is not None and result.step >= stop

    fit(trainer, batches(start), after_step=after_step)
    return losses


def equal(a, b):
    return all(
        torch.equal(x, y) for x, y in zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("amp", [False, True])
def test_equal_seeds_give_equal_runs_and_others_do_not(amp):
    first, second, other = trainer(AMP=amp), trainer(AMP=amp), trainer(seed=2, AMP=amp)
    assert run(first) == run(second)
    assert equal(first, second)
    run(other)
    assert not equal(first, other)


def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path):
    whole = trainer(AMP=True, NUM_STEPS=24)
    losses = run(whole)
    begun = trainer(AMP=True, NUM_STEPS=24)
    assert run(begun, stop=13) == losses[:13]
    save_training_state(begun.state_dict(), tmp_path, step=13, keep=1)

    state, path = load_training_state(tmp_path)
    torch.manual_seed(999)
    resumed = trainer(AMP=True, NUM_STEPS=24)
    resumed.load_state_dict(state, str(path))
    assert run(resumed, start=13) == losses[13:]
    assert equal(whole, resumed)
    for ours, theirs in zip(
        whole.ema.average.state_dict().values(), resumed.ema.average.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_training_lowers_the_loss():
    learner = trainer(NUM_STEPS=60, LR=3e-3)
    fixed = next(batches())
    losses = []

    def repeat():
        while True:
            yield fixed

    fit(learner, repeat(), after_step=lambda result: losses.append(float(result.loss)))
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_accumulated_batches_step_once_with_the_mean_gradient():
    """Two equal halves accumulated give the gradient of the mean of both losses."""
    learner = trainer(GRADIENT_ACCUMULATE_EVERY=2, NUM_STEPS=1)
    drawn = 0

    def counting():
        nonlocal drawn
        for batch in batches():
            drawn += 1
            yield batch

    losses = []
    fit(learner, counting(), after_step=lambda result: losses.append(float(result.loss)))
    assert drawn == 2
    assert len(losses) == 1
    single = [run(trainer(NUM_STEPS=1))[0]]
    assert losses[0] != single[0]


def test_learning_rate_schedules():
    constant = config(LR=1e-4, NUM_STEPS=3000)
    assert {learning_rate(constant, step) for step in (0, 1999, 2999)} == {1e-4}
    stepped = config(LR=1e-4, NUM_STEPS=3000, USE_STEP_LR=True)
    assert [learning_rate(stepped, step) for step in (0, 1999)] == [1e-4, 1e-4]
    assert learning_rate(stepped, 2000) == pytest.approx(1e-5)
    decayed = config(LR=1e-4, NUM_STEPS=3000, USE_EXP_DECAY=True)
    assert learning_rate(decayed, 999) == 1e-4
    assert learning_rate(decayed, 2000) == pytest.approx(1e-4 * 0.995**2)


def test_rate_reaches_the_optimiser():
    slow, fast = trainer(LR=1e-6, NUM_STEPS=1), trainer(LR=1e-2, NUM_STEPS=1)
    before = slow.model.denoise_fn.pose.weight.detach().clone()
    run(slow), run(fast)
    moved = [float((t.model.denoise_fn.pose.weight.detach() - before).abs().max()) for t in (slow, fast)]
    assert moved[0] == pytest.approx(1e-6, rel=0.1)
    assert moved[1] == pytest.approx(1e-2, rel=0.1)


def test_optimizer_choice():
    adam, adamw = trainer(OPTIMIZER="adam"), trainer(OPTIMIZER="adamw")
    assert type(adam.optimizer) is torch.optim.Adam
    assert adam.optimizer.defaults["weight_decay"] == 0
    assert type(adamw.optimizer) is torch.optim.AdamW
    assert adamw.optimizer.defaults["weight_decay"] == 0.01


def test_clip_grad_bounds_the_norm(monkeypatch):
    norms = []

    def spy(learner):
        step = learner.optimizer.step

        def record(*args, **kwargs):
            grads = [p.grad for p in learner.model.parameters() if p.grad is not None]
            norms.append(float(torch.stack([grad.norm() for grad in grads]).norm()))
            return step(*args, **kwargs)

        monkeypatch.setattr(learner.optimizer, "step", record)
        run(learner)

    spy(trainer(NUM_STEPS=1))
    free = norms.pop()
    spy(trainer(NUM_STEPS=1, CLIP_GRAD=free / 4))
    assert norms.pop() == pytest.approx(free / 4, rel=1e-3)


@pytest.fixture
def bfloat16_units(monkeypatch):
    """A processor that multiplies bfloat16, or does as if it did."""
    monkeypatch.setattr(precision, "cpu_multiplies_bfloat16", lambda: True)


def test_mixed_precision_types(bfloat16_units):
    assert trainer(AMP=False).amp_dtype is None
    assert trainer(AMP=True).amp_dtype == torch.bfloat16
    half = trainer(AMP=True, AMP_DTYPE="float16")
    assert half.amp_dtype == torch.float16
    assert half.scaler.is_enabled()
    assert not trainer(AMP=True).scaler.is_enabled()


def test_mixed_precision_computes_in_the_lower_type(bfloat16_units):
    seen = []
    learner = trainer(AMP=True, NUM_STEPS=1)
    learner.model.denoise_fn.pose.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    run(learner)
    assert seen == [torch.bfloat16]


def test_a_processor_without_bfloat16_trains_in_float32(monkeypatch, capsys):
    """Emulated bfloat16 products take 100 times as long."""
    monkeypatch.setattr(precision, "cpu_multiplies_bfloat16", lambda: False)
    precision._say_once.cache_clear()
    assert trainer(AMP=True).amp_dtype is None
    assert trainer(AMP=True, AMP_DTYPE="bfloat16").amp_dtype is None
    assert trainer(AMP=True, AMP_DTYPE="float16").amp_dtype == torch.float16
    assert precision.usable_precision("bfloat16", "cpu") == "float32"
    assert precision.usable_precision("bfloat16", "cuda") == "bfloat16"
    assert capsys.readouterr().err.count("no instructions for bfloat16") == 1


def test_ema_decay_key():
    assert trainer(EMA_DECAY=0.5).ema.decay == 0.5


@pytest.mark.parametrize("bad_step", [1, 4])
def test_non_finite_loss_stops_and_names_the_step(bad_step):
    def poisoned():
        for k, batch in enumerate(batches(), start=1):
            if k == bad_step:
                batch["target_m"][0, 0, 0] = math.nan
            yield batch

    learner = trainer()
    with pytest.raises(DiffPoseError, match=f"not finite at step {bad_step}"):
        fit(learner, poisoned(), after_step=lambda result: None)


def test_delayed_look_names_the_right_step():
    """On CUDA losses are looked at every LOG_EVERY steps; the first bad one is still the one named."""
    learner = trainer(NUM_STEPS=6)
    learner._check_every = 4

    def poisoned():
        for k, batch in enumerate(batches(), start=1):
            if k == 6:
                batch["target_m"][:] = math.inf
            yield batch

    with pytest.raises(DiffPoseError, match="step 6"):
        fit(learner, poisoned(), after_step=lambda result: None)


def test_state_of_another_seed_or_configuration_is_refused():
    state = trainer().state_dict()
    with pytest.raises(DiffPoseError, match="--seed 1"):
        trainer(seed=2).load_state_dict(state, "state-1.pt")
    wider = parse_config({"MODEL": MODEL | {"CONDITION_DIM": 16}, "TRAIN": {"AMP": False}})
    with pytest.raises(DiffPoseError, match=r"state-1\.pt: .*\(MODEL\.CONDITION_DIM was 8, is 16"):
        Trainer(build_model(wider), wider, seed=1).load_state_dict(state, "state-1.pt")
    del state["run"]
    with pytest.raises(DiffPoseError, match=r"state-1\.pt.*another configuration.*upscale\.weight"):
        Trainer(build_model(wider), wider, seed=1).load_state_dict(state, "state-1.pt")


def test_model_file_has_the_published_form():
    learner = trainer(NUM_STEPS=1)
    run(learner)
    content = learner.model_file()
    assert list(content) == ["step", "model", "ema", "scaler"]
    names = set(learner.model.state_dict())
    assert set(content["model"]) == names
    wanted = {f"{part}.{name}" for name in names for part in ("online_model", "ema_model")}
    assert set(content["ema"]) == {"initted", "step"} | wanted
    assert isinstance(learner.model, nn.Module)
