"""A recorded step does what a plain one does. Here a recording is a call that is made again; on CUDA, a graph."""

from functools import partial

import pytest
import torch

from models import build_trainer
from models.fast.step_graph import WARM_UP_STEPS, HeldDraws, StepRecording, record_cuda, wants_recording
from models.trainer import Trainer
from tests.models.test_trainer import batches, config, equal, run, trainer
from train import fit
from utils.cell_lists import CellLists
from utils.distributed import SINGLE, Processes
from utils.errors import DiffPoseError
from utils.randomness import StepDraws

pytestmark = pytest.mark.usefixtures("narrow")


def call_again(work):
    """A stand-in for a CUDA graph: nothing is computed on recording, and the result has a place of its own."""
    result = torch.zeros(())
    return lambda: result.copy_(work()), result


def graphed(learner):
    """The same trainer, whose steps are recorded."""
    recorder = partial(StepRecording, record=call_again, warm_up=lambda work: work())
    recorded = Trainer(learner.model, learner.config, seed=learner.seed, recorder=recorder)
    for group in recorded.optimizer.param_groups:
        group["capturable"] = False  # this is for a GPU alone
    return recorded


# A learning rate that is the same number in float32, in which a device reads it.
EXACT = {"LR": 2**-10, "NUM_STEPS": WARM_UP_STEPS + 4}


@pytest.mark.parametrize("settings", [{}, {"CLIP_GRAD": 0.1}, {"AMP": True}])
def test_steps_equal_plain_ones_to_the_last_bit(settings):
    plain, recorded = trainer(**EXACT | settings), graphed(trainer(**EXACT | settings))
    assert run(plain) == run(recorded)
    assert equal(plain, recorded)


def test_a_changing_rate_reaches_the_recording():
    settings = {"NUM_STEPS": 12, "LR": 3e-3, "USE_STEP_LR": True}
    plain, recorded = trainer(**settings), graphed(trainer(**settings))
    assert run(plain) == pytest.approx(run(recorded), rel=1e-4)
    assert float(recorded.optimizer.param_groups[0]["lr"]) == pytest.approx(3e-4)


def as_lists(source):
    for batch in source:
        yield batch | {"heatmap": CellLists.from_maps(batch["heatmap"])}


def resident(source, count):
    """The same batches as parts of one list."""
    parts = [next(source) for _ in range(count)]
    lists = CellLists.joined([CellLists.from_maps(batch["heatmap"]) for batch in parts])
    for k, batch in enumerate(parts):
        yield batch | {"heatmap": lists.batch(torch.arange(4 * k, 4 * k + 4))}


def test_cell_lists_train_like_the_maps_they_come_from():
    plain, lists, recorded = trainer(**EXACT), trainer(**EXACT), graphed(trainer(**EXACT))
    for learner, source in ((plain, batches()), (lists, as_lists(batches())), (recorded, resident(batches(), 7))):
        fit(learner, source, after_step=lambda result: None)
    assert equal(plain, lists)
    assert equal(plain, recorded)


def on_cuda(source):
    lists = None
    for batch in source:
        lists = lists or batch["heatmap"].to("cuda")
        yield {"heatmap": lists.batch(batch["heatmap"].items.cuda()), "target_m": batch["target_m"].cuda()}


def test_lists_of_each_batch_alone_are_refused():
    with pytest.raises(ValueError, match="same cell lists"):
        fit(graphed(trainer(**EXACT)), as_lists(batches()), after_step=lambda result: None)


def test_failure_to_record_is_one_line(monkeypatch):
    class Refusing:
        def __init__(self, *arguments, **options):
            raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
    monkeypatch.setattr(torch.cuda, "graph", Refusing)
    with pytest.raises(DiffPoseError, match=r"TRAIN.CUDA_GRAPH: .*not permitted.*set it to false"):
        record_cuda(lambda: torch.zeros(()))


def test_held_draws_keep_their_place_and_take_new_numbers():
    first, second = (StepDraws(1, step, global_batch=4) for step in (0, 1))
    held = HeldDraws(first)
    asked = [held.uniform("a", 3), held.normal("b", 2), held.integers("c", 9)]
    held.refill(second)
    again = [held.uniform("a", 3), held.normal("b", 2), held.integers("c", 9)]
    assert all(x is y for x, y in zip(asked, again, strict=True))
    for x, y in zip(again, [second.uniform("a", 3), second.normal("b", 2), second.integers("c", 9)], strict=True):
        assert torch.equal(x, y)


def test_resumed_from_a_recorded_run():
    learner = graphed(trainer(**EXACT))
    run(learner, stop=5)
    state = learner.state_dict()
    plain = trainer(**EXACT)
    plain.load_state_dict(state, "state")
    run(plain, start=5)
    whole = trainer(**EXACT)
    run(whole)
    assert equal(plain, whole)


CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def test_graphs_are_for_cuda_and_for_what_they_can_record():
    bf16 = {"CUDA_GRAPH": True, "AMP": True, "AMP_DTYPE": "bfloat16"}
    assert wants_recording(config(**bf16), CUDA, SINGLE)
    assert not wants_recording(config(**bf16), CPU, SINGLE)
    assert not wants_recording(config(**bf16 | {"CUDA_GRAPH": False}), CUDA, SINGLE)
    for change, words in (({"AMP_DTYPE": "auto"}, "bfloat16"), ({"GRADIENT_ACCUMULATE_EVERY": 2}, "ACCUMULATE")):
        with pytest.raises(DiffPoseError, match=f"TRAIN.CUDA_GRAPH: .*{words}"):
            wants_recording(config(**bf16 | change), CUDA, SINGLE)
    with pytest.raises(DiffPoseError, match="single process"):
        wants_recording(config(**bf16), CUDA, Processes(rank=0, world_size=2, local_rank=0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("lists", [False, True])
def test_cuda_graph_equals_plain_steps(lists):
    losses = []
    for graph in (False, True):
        settings = config(NUM_STEPS=8, AMP=True, AMP_DTYPE="bfloat16", CUDA_GRAPH=graph)
        learner = trainer(NUM_STEPS=8)
        learner = build_trainer(learner.model.cuda(), settings, seed=1)
        assert (learner.recorder is not None) == graph
        source = on_cuda(resident(batches(), 8)) if lists else batches()
        seen = []
        fit(learner, source, after_step=lambda result, seen=seen: seen.append(float(result.loss)))
        losses.append(seen)
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)
