"""What holds for any input: text read as YAML, the order of batches, the draws of a step, what a checkpoint keeps."""

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.loader import SeededBatchSampler
from tests.support.fuzzing import outcome
from utils.checkpoint import load_file, save_atomic
from utils.config.yaml_file import parse_yaml
from utils.randomness import StepDraws


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=200) | st.text(alphabet=" -:[]{}&*!|>\n\t'\"#%@a1.", max_size=80))
def test_any_text_is_plain_values_or_one_line(text):
    def plain(value):
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(inner) for key, inner in value.items())
        if isinstance(value, list):
            return all(map(plain, value))
        return value is None or isinstance(value, str | bool | int | float)

    def read(text):
        assert plain(parse_yaml(text, "text"))

    assert outcome(read, text) == ""


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 50),
    own=st.integers(1, 6),
    world=st.integers(1, 4),
    start=st.integers(0, 40),
    seed=st.integers(0, 2**31),
)
def test_batches_do_not_depend_on_where_a_run_begins_or_how_it_is_shared(rows, own, world, start, seed):
    def take(count, **place):
        return list(itertools.islice(SeededBatchSampler(rows, own * world, seed, **place), count))

    whole = take(start + 3)[start:]
    shared = [take(3, start_step=start, rank=rank, world_size=world) for rank in range(world)]
    assert [list(itertools.chain(*parts)) for parts in zip(*shared, strict=True)] == whole


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 12), max_size=3), step=st.integers(0, 2**40), seed=st.integers(0, 2**62))
def test_draws_of_a_step_do_not_depend_on_how_it_is_shared(cuts, step, seed):
    whole = StepDraws(seed, step, global_batch=12).normal("noise", 3)
    edges = [0, *sorted(cuts), 12]
    parts = [StepDraws(seed, step, global_batch=12, part=slice(a, b)) for a, b in itertools.pairwise(edges)]
    assert torch.equal(torch.cat([part.normal("noise", 3) for part in parts]), whole)


LEAVES = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=9) | st.floats(allow_nan=False)


@settings(max_examples=25, deadline=None)
@given(
    content=st.dictionaries(
        st.text(max_size=9),
        st.recursive(
            LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
        ),
        max_size=4,
    )
)
def test_what_is_saved_is_what_is_loaded(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "x.pt"
    save_atomic(content, path)
    assert load_file(path) == content
