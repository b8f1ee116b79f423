import h5py
import numpy as np
import pytest

from data.hdf5.columnar import ColumnarWriter, encode_heatmap
from data.pose_dataset import PoseDataset
from data.schema import FIELDS, SCHEMA_VERSION, Field
from tests.support.hdf5_files import attributes, make_columns, write_columnar
from utils.errors import DiffPoseError

ATTRS = {"source": "synthetic: test", "detector": "gaussian", "hard_subset": "heatmaps"}


@pytest.mark.parametrize(("dataset", "split"), [("h36m", "trainset"), ("3DHP", "testset"), ("3dpw", "testset")])
def test_what_is_written_is_read_back(tmp_path, dataset, split):
    first, second = make_columns(dataset, 5, split=split, seed=1), make_columns(dataset, 3, split=split, seed=2)
    path = tmp_path / "new" / "file.h5"
    with ColumnarWriter(path, dataset=dataset, attrs=ATTRS) as writer:
        writer.append(split, first)
        writer.append(split, second)
        assert writer.num_rows == {split: 8}
    with h5py.File(path) as file:
        for name, field in FIELDS[dataset.lower()].items():
            column = file["dataset"][split][name]
            assert column.dtype == field.dtype
            np.testing.assert_array_equal(column[:], np.concatenate([first[name], second[name]]))
        attrs = attributes(file["dataset"])
        assert file["dataset"][split]["heatmap"].chunks == (1, 16, 64, 64)
    assert attrs["schema_version"] == SCHEMA_VERSION
    assert attrs["dataset"] == dataset.lower()
    assert {name: attrs[name] for name in ATTRS} == ATTRS
    assert [entry.name for entry in path.parent.iterdir()] == ["file.h5"]


@pytest.mark.parametrize("compression", ["gzip", None])
def test_heatmaps_may_come_encoded_or_uncompressed(tmp_path, compression):
    columns = make_columns("h36m", 4)
    heatmaps = columns["heatmap"]
    if compression:
        columns = {**columns, "heatmap": [encode_heatmap(heatmap) for heatmap in heatmaps]}
    path = tmp_path / "file.h5"
    with ColumnarWriter(path, dataset="h36m", attrs=ATTRS, heatmap_compression=compression) as writer:
        writer.append("testset", columns)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["dataset/testset/heatmap"][:], heatmaps)


def test_str_columns_are_encoded(tmp_path):
    columns = make_columns("h36m", 2)
    columns["action"] = np.array(["Walking", "SittingDown"])
    path = write_columnar(tmp_path / "file.h5", "h36m", {"testset": columns})
    assert PoseDataset(path, split="test").meta["action"].tolist() == ["Walking", "SittingDown"]


def test_extra_columns_are_kept(tmp_path):
    path = tmp_path / "file.h5"
    visible = np.arange(34, dtype=np.uint8).reshape(2, 17)
    field = Field("visible", np.dtype("u1"), (17,), "0 or 1", "")
    with ColumnarWriter(path, dataset="h36m", attrs=ATTRS, extra_fields=[field]) as writer:
        writer.append("testset", {**make_columns("h36m", 2), "visible": visible})
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["dataset/testset/visible"][:], visible)
    assert len(PoseDataset(path, split="test")) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gt_3d": None}, "'gt_3d' is missing"),
        ({"depth": np.zeros(3)}, "'depth' is not in the schema"),
        ({"gt_3d": np.zeros((3, 17, 3))}, r"'gt_3d' has rows of shape \(17, 3\), the schema says \(3, 17\)"),
        ({"heatmap": np.zeros((3, 16, 32, 32))}, "'heatmap' has rows of shape"),
        ({"frame_orig": np.zeros(2)}, "'frame_orig' has 2 rows, 'action' has 3"),
        ({"action": np.array(["a" * 17] * 3)}, "'action' holds strings of 17 bytes, 16 fit"),
        ({"action": np.zeros(3)}, "'action' must hold strings"),
    ],
)
def test_rows_of_another_schema_are_refused_and_leave_nothing(tmp_path, change, message):
    columns = {**make_columns("h36m", 3), **change}
    columns = {name: values for name, values in columns.items() if values is not None}
    with (
        pytest.raises(DiffPoseError, match=message),
        ColumnarWriter(tmp_path / "file.h5", dataset="h36m", attrs=ATTRS) as writer,
    ):
        writer.append("testset", columns)
    assert not list(tmp_path.iterdir())


def test_an_interruption_leaves_an_older_file_as_it_was(tmp_path):
    path = write_columnar(tmp_path / "file.h5", "h36m", {"testset": make_columns("h36m", 2)})
    before = path.read_bytes()

    def columns():
        yield make_columns("h36m", 4)
        raise KeyboardInterrupt

    def overwrite():
        with ColumnarWriter(path, dataset="h36m", attrs=ATTRS) as writer:
            for block in columns():
                writer.append("testset", block)

    with pytest.raises(KeyboardInterrupt):
        overwrite()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_without_rows_is_not_made(tmp_path):
    with pytest.raises(DiffPoseError, match="no rows"), ColumnarWriter(tmp_path / "f.h5", dataset="h36m", attrs=ATTRS):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with (
        pytest.raises(DiffPoseError, match=r"taken/file\.h5: cannot be written"),
        ColumnarWriter(tmp_path / "taken" / "file.h5", dataset="h36m", attrs=ATTRS),
    ):
        pass


def test_cameras_are_kept(tmp_path):
    path = tmp_path / "file.h5"
    intrinsics = np.array([[1145.0, 0, 512], [0, 1144, 515], [0, 0, 1]])
    with ColumnarWriter(path, dataset="h36m", attrs=ATTRS) as writer:
        writer.append("testset", make_columns("h36m", 2))
        writer.write_camera("S9", "54138969", intrinsics=intrinsics, rotation=np.eye(3), translation=[1, 2, 3000])
    cameras = PoseDataset(path, split="test").cameras
    assert list(cameras) == [("S9", "54138969")]
    np.testing.assert_array_equal(cameras["S9", "54138969"]["K"], intrinsics)
    np.testing.assert_array_equal(cameras["S9", "54138969"]["t"], [1, 2, 3000])


def test_odd_cameras_are_one_line(tmp_path):
    path = write_columnar(tmp_path / "file.h5", "h36m", {"testset": make_columns("h36m", 2)})
    with h5py.File(path, "r+") as file:
        file["dataset/cameras/S9/a/K"] = np.eye(2)
    with pytest.raises(DiffPoseError, match=r"file\.h5: '/dataset/cameras' cannot be read"):
        _ = PoseDataset(path, split="test").cameras
