"""The compact form of heatmaps: what it keeps, what it drops, and that files say which form they hold."""

import sys

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data.hdf5.columnar import ColumnarWriter, encode_heatmap
from data.hdf5.compact import CompactForm, compact_heatmaps
from data.pose_dataset import PoseDataset
from data.preprocessing.conversion.parts import PartFolder
from data.preprocessing.validate import validate
from data.synthetic.__main__ import main as make_benchmark
from data.synthetic.build import BuildParameters, build
from tests.support.hdf5_files import attributes, make_columns
from utils.errors import DiffPoseError

SMALLEST_NORMAL = 2.0**-14


def noisy_maps(count=6, *, noise=0.002, seed=0):
    """Peaks of two cells of different heights on a floor of noise: (count, 16, 64, 64) float16."""
    rng = np.random.default_rng(seed)
    centre, height = rng.uniform(8, 56, (2, count, 16, 1, 1)), rng.uniform(0.05, 1, (count, 16, 1, 1))
    grid = np.arange(64)
    distance = (grid - centre[0]) ** 2 + (grid[:, None] - centre[1]) ** 2
    maps = height * np.exp(-distance / 8) + rng.normal(0, noise, (count, 16, 64, 64))
    return maps.astype(np.float16)


def flat(maps):
    return np.asarray(maps, np.float64).reshape(*maps.shape[:-2], -1)


def check(maps, threshold, bits):
    """Everything that compacting promises, of finite maps with a positive value."""
    compact = compact_heatmaps(maps, threshold=threshold, mantissa_bits=bits)
    assert compact.dtype == np.float16
    assert compact.shape == maps.shape
    before, after = flat(maps), flat(compact)
    peak = before.max(axis=-1, keepdims=True)
    np.testing.assert_array_equal(after.argmax(axis=-1), before.argmax(axis=-1))
    np.testing.assert_array_equal(after.max(axis=-1, keepdims=True), peak)
    assert (after >= 0).all()
    assert not after[before < np.minimum(threshold * peak, peak)].any()
    relative = 2.0 ** -(bits + 1)
    bound = relative * np.maximum(before, SMALLEST_NORMAL)
    off = np.abs(after - before) > bound
    # What is off is dropped: negative, or below the threshold, which is rounded up by at most a last bit.
    step = np.maximum(2 * relative * threshold * peak, 2.0 ** -(14 + bits))
    assert not after[off].any()
    assert (before < threshold * peak + step)[off].all()
    np.testing.assert_array_equal(compact_heatmaps(compact, threshold=threshold, mantissa_bits=bits), compact)
    return compact


@pytest.mark.parametrize("threshold", [0.0, 0.001, 0.01, 0.3])
@pytest.mark.parametrize("bits", [10, 6, 5, 4, 1])
def test_detector_like_maps(threshold, bits):
    compact = check(noisy_maps(), threshold, bits)
    if bits < 10:
        patterns = compact.view(np.uint16).reshape(6, 16, -1)
        short = patterns & (1 << 10 - bits) - 1 == 0
        # All numbers are short ones but the peak and the few cells that rounding would bring up to it.
        assert ((~short).sum(axis=-1) <= 8).all()


FINITE = st.floats(-1, 65504, width=16) | st.floats(0, 2.0**-12, width=16) | st.sampled_from([0.0, -0.0, 1.0])


@settings(max_examples=300, deadline=None)
@given(
    arrays(np.float16, (2, 3, 4), elements=FINITE),
    st.sampled_from([0.0, 1e-3, 0.01, 0.5, 0.99]) | st.floats(0, 0.999),
    st.integers(1, 10),
)
def test_any_finite_maps(maps, threshold, bits):
    maps[:, 1, 1] = np.maximum(maps[:, 1, 1], 6e-8)
    check(maps, threshold, bits)


def test_ties_made_by_rounding_do_not_move_the_first_maximum():
    maps = np.zeros((1, 4, 4), np.float16)
    # With 4 bits all of these are 0.5; the maximum is the third, and comes twice.
    maps[0, 1] = 0.4985, 0.5, 0.501, 0.501
    compact = check(maps, 0.001, 4)
    assert compact[0].argmax() == 6
    np.testing.assert_array_equal(compact[0, 1], np.float16([0.5, 0.5, 0.501, 0.501]))
    # Rounded up, the first would be above the maximum.
    maps[0, 1] = 0.5157, 0.5166, 0, 0
    assert check(maps, 0.001, 4)[0].argmax() == 5


def test_nothing_is_drawn_otherwise_without_threshold_and_rounding():
    maps = noisy_maps(2)
    np.testing.assert_array_equal(compact_heatmaps(maps, threshold=0, mantissa_bits=10), np.maximum(maps, 0))


def test_rounding_is_to_the_nearest():
    """1 + i / 1024 to multiples of 1 / 16, up from the middle; the largest value shields the others."""
    maps = np.append(1 + np.arange(1023) / 1024, 2).astype(np.float16).reshape(32, 32)
    expected = np.floor(np.asarray(maps, np.float64) * 16 + 0.5) / 16
    compact = compact_heatmaps(maps, threshold=0, mantissa_bits=4).astype(np.float64)
    reached = expected == 2
    np.testing.assert_array_equal(compact[~reached], expected[~reached])
    np.testing.assert_array_equal(compact[reached], maps[reached])


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
def test_unusable_maps_come_back_as_they_were(value):
    maps = noisy_maps(1)[0]
    maps[3, 5, 5] = value
    maps[4] = -np.abs(maps[4])
    maps[5] = 0
    compact = compact_heatmaps(maps, threshold=0.01, mantissa_bits=4)
    for joint in (3, 4, 5):
        np.testing.assert_array_equal(compact[joint].view(np.uint16), maps[joint].view(np.uint16))
    assert (compact[6] != maps[6]).any()


def test_the_argument_is_left_alone_and_may_be_of_another_type():
    maps = noisy_maps(1).astype(np.float32)[:, :, ::2]
    before = maps.copy()
    compact = compact_heatmaps(maps, threshold=0.01, mantissa_bits=4)
    np.testing.assert_array_equal(maps, before)
    np.testing.assert_array_equal(compact, compact_heatmaps(maps.astype(">f2"), threshold=0.01, mantissa_bits=4))


@pytest.mark.parametrize(("threshold", "bits"), [(-0.1, 5), (1, 5), (float("nan"), 5), (0, 0), (0, 11)])
def test_parameters_out_of_range_are_refused(threshold, bits):
    with pytest.raises(ValueError, match="mantissa_bits"):
        compact_heatmaps(np.ones((2, 2)), threshold=threshold, mantissa_bits=bits)


def test_the_form_has_a_text_and_saves_room():
    form = CompactForm()
    assert str(form) == "compact: cells below 0.001 of the peak are 0, 5 mantissa bits"
    maps = noisy_maps(1)[0]
    assert len(encode_heatmap(maps, compact=form)) < 0.6 * len(encode_heatmap(maps))
    assert encode_heatmap(maps, level=None, compact=form) == form(maps).tobytes()


def stored(path, split="testset"):
    """(heatmaps of a split, attributes) of a file."""
    with h5py.File(path, locking=False) as file:
        return file["dataset"][split]["heatmap"][()], attributes(file["dataset"])


@pytest.mark.parametrize("encoded", [False, True])
def test_a_file_in_the_compact_form_is_read_as_any_other(tmp_path, encoded):
    form, columns = CompactForm(threshold=0.01), {**make_columns("h36m", 4), "heatmap": noisy_maps(4)}
    compact = form(columns["heatmap"])
    if encoded:
        columns["heatmap"] = [encode_heatmap(maps, compact=form) for maps in columns["heatmap"]]
    path = tmp_path / "file.h5"
    with ColumnarWriter(path, dataset="h36m", attrs={"source": "synthetic: test"}, compact=form) as writer:
        writer.append("testset", columns)
    maps, attrs = stored(path)
    np.testing.assert_array_equal(maps, compact)
    assert attrs["heatmap_storage"] == "compact: cells below 0.01 of the peak are 0, 5 mantissa bits"
    np.testing.assert_array_equal(PoseDataset(path, split="test")[2]["heatmap"].numpy(), compact[2])
    with h5py.File(path) as file:
        assert file["dataset"].attrs.get_id("heatmap_storage").dtype.kind == "S", "of fixed length"


def test_the_benchmark_in_both_forms(tmp_path, monkeypatch, capsys):
    parameters = {"train_rows": 4, "test_rows": 60}
    build(tmp_path / "plain.h5", BuildParameters(**parameters), workers=1, show_progress=False)
    path = tmp_path / "compact.h5"
    command = ["data.synthetic", "--output", str(path), "--workers", "1", "--train_rows", "4", "--test_rows", "60"]
    for compact, said in (([], "MiB in"), (["--compact"], "MiB in"), (["--compact"], "nothing to do")):
        monkeypatch.setattr(sys, "argv", [*command, *compact])
        make_benchmark()
        assert said in capsys.readouterr().out, "another form is another benchmark"
    plain, attrs = stored(tmp_path / "plain.h5")
    assert attrs["heatmap_storage"] == "as published"
    assert "compact" not in attrs["parameters"], "files are those of the benchmark without this option"
    maps, attrs = stored(path)
    assert attrs["heatmap_storage"] == str(CompactForm())
    np.testing.assert_array_equal(maps, CompactForm()(plain))
    report = validate(path, show_progress=False)
    assert f"heatmap storage: {CompactForm()}" in report.lines
    assert report.findings == []
    monkeypatch.setattr(sys, "argv", [*command, "--compact", "1.5"])
    with pytest.raises(SystemExit):
        make_benchmark()
    assert "'1.5' is no share" in capsys.readouterr().err


def test_preprocessing_in_the_compact_form(preprocess, finished, tmp_path):
    plain, attrs = stored(finished("3DHP")[0])
    assert attrs["heatmap_storage"] == "as published"
    code, log = preprocess("3DHP", tmp_path, "--compact", "0.01")
    assert code == 0, log
    path = tmp_path / "3DHP_dataset_h36m_hrnet.h5"
    maps, attrs = stored(path)
    np.testing.assert_array_equal(maps, CompactForm(threshold=0.01)(plain))
    assert attrs["heatmap_storage"] == str(CompactForm(threshold=0.01))
    with h5py.File(path, locking=False) as file:
        assert file["dataset/testset/heatmap"].compression == "gzip", "without it nothing would be saved"
    assert "nothing to do" in preprocess("3DHP", tmp_path, "--compact", "0.01")[1]
    for other in (["--compact"], []):
        code, log = preprocess("3DHP", tmp_path, *other)
        assert code == 2
        assert "made with other settings" in log
    code, log = preprocess("3DHP", tmp_path, "--compact", "--compression", "none")
    assert code == 2
    assert "--compact saves room only with --compression" in log


@pytest.mark.parametrize(
    ("before", "after"), [({}, {"compact": "a"}), ({"compact": "a"}, {}), ({"compact": "a"}, {"compact": "b"})]
)
def test_recordings_of_different_forms_are_not_mixed(tmp_path, before, after):
    def parts(settings):
        return PartFolder(
            tmp_path / "f.h5", dataset="3dhp", settings={"limit": 1, **settings}, heatmap_compression="gzip", level=1
        )

    with parts(before):
        pass
    with pytest.raises(DiffPoseError, match="made with another --compact: go on with the same"), parts(after):
        pass
    with parts(before):
        pass
