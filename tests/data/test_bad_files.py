"""Every defect of a file is one line that names it, and never a crash."""

import h5py
import numpy as np
import pytest

from data.pose_dataset import PoseDataset
from tests.support.hdf5_files import make_columns, published_dtype, write_columnar, write_published
from utils.errors import DiffPoseError

WRITERS = {"published": write_published, "columnar": write_columnar}


@pytest.fixture(params=WRITERS)
def layout(request):
    return request.param


def fails(path, message, **options) -> str:
    """Opens and reads everything, and expects one line that names the file and matches ``message``."""
    options = {"split": "test", "show_progress": False, **options}
    with pytest.raises(DiffPoseError, match=message) as caught:
        list(PoseDataset(path, **options))
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


@pytest.mark.parametrize(("dataset", "script"), [("h36m", "H36M"), ("3DHP", "3DHP"), ("3dpw", "3DPW")])
def test_missing_file_names_the_script_and_the_quickstart(tmp_path, dataset, script):
    text = fails(tmp_path / "none.h5", "file not found", dataset=dataset)
    assert f"`python data/preprocessing/{script}.py --input_dir ... --output_dir ...`" in text
    assert "`make quickstart` needs no data" in text


def test_other_kinds_of_file(tmp_path, layout):
    fails(tmp_path, "not a file")
    text = tmp_path / "text.h5"
    text.write_text("no HDF5" * 100)
    fails(text, "not an HDF5 file")
    whole = WRITERS[layout](tmp_path / "whole.h5", "h36m", {"testset": make_columns("h36m", 6)})
    cut = tmp_path / "cut.h5"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    fails(cut, "truncated")
    empty = tmp_path / "empty.h5"
    empty.touch()
    fails(empty, "not an HDF5 file|truncated")


def test_missing_split_names_those_there_are(tmp_path, layout):
    path = WRITERS[layout](tmp_path / "f.h5", "h36m", {"testset": make_columns("h36m", 2)})
    fails(path, r"no '/dataset/trainset' \(splits it has: testset\)", split="train")
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file["something"] = 1
    fails(tmp_path / "none.h5", "splits it has: none")
    with pytest.raises(DiffPoseError, match="unknown split 'val': one of train, test"):
        PoseDataset(path, split="val")


@pytest.mark.parametrize("name", ["gt_3d", "heatmap", "hardsubset", "subject"])
def test_missing_field_is_named(tmp_path, layout, name):
    columns = make_columns("h36m", 2)
    if layout == "published":
        path = write_published(tmp_path / "f.h5", "h36m", {"testset": columns}, leave_out=(name,))
    else:
        path = write_columnar(tmp_path / "f.h5", "h36m", {"testset": columns})
        with h5py.File(path, "r+") as file:
            del file["dataset/testset"][name]
    fails(path, f"no field '{name}' .*it has: action")


def test_field_of_a_2d_condition_is_needed_only_for_it(tmp_path):
    path = write_published(tmp_path / "f.h5", "h36m", {"testset": make_columns("h36m", 2)}, leave_out=("argmax_2d",))
    assert len(PoseDataset(path, split="test", show_progress=False)) == 2
    fails(path, "no field 'argmax_2d': MODEL.CONDITION_KEY p2d_hrnet needs it", condition_key="p2d_hrnet")


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("heatmap", ("<f2", (16, 32, 32)), r"rows of shape \(16, 32, 32\), expected \(16, 64, 64\)"),
        ("heatmap", ("<i4", (16, 64, 64)), "holds int32, expected float16"),
        ("gt_3d", ("<f4", (17, 3)), r"rows of shape \(17, 3\), expected \(3, 17\)"),
        ("gt_3d", ("S4", (3, 17)), r"holds \|S4, expected float32"),
        ("action", ("<f4", ()), "holds float32, expected"),
        ("action", ("S5000", ()), r"holds \|S5000, expected"),
        ("frame_orig", ("<f8", ()), "holds float64, expected int32"),
        ("hardsubset", ("u1", (2,)), r"rows of shape \(2,\)"),
        ("subject", (h5py.string_dtype(), ()), "text of variable length"),
    ],
)
def test_other_types_and_shapes_are_refused(tmp_path, layout, name, kind, message):
    path = tmp_path / "f.h5"
    dtype, shape = np.dtype(kind[0]), kind[1]
    if layout == "published":
        rows = published_dtype("h36m")
        rows = np.dtype([(field, *((dtype, shape) if field == name else (rows[field],))) for field in rows.names])
        with h5py.File(path, "w") as file:
            table = file.create_dataset("dataset/testset", shape=(2,), dtype=rows, chunks=(1,))
            if dtype.kind != "O":
                table[:] = np.zeros(2, rows)
    else:
        write_columnar(path, "h36m", {"testset": make_columns("h36m", 2)})
        with h5py.File(path, "r+") as file:
            group = file["dataset/testset"]
            del group[name]
            group.create_dataset(name, data=np.full((2, *shape), "x" if dtype.kind == "O" else 0, dtype))
    fails(path, message)


def test_columns_of_other_lengths_are_refused(tmp_path):
    path = write_columnar(tmp_path / "f.h5", "h36m", {"testset": make_columns("h36m", 4)})
    with h5py.File(path, "r+") as file:
        file["dataset/testset/gt_3d"].resize(3, axis=0)
    fails(path, "gt_3d' has 3 rows, other columns have 4")


def test_a_file_of_another_dataset_or_version_is_refused(tmp_path):
    path = write_columnar(tmp_path / "f.h5", "3DHP", {"testset": make_columns("3DHP", 2)})
    fails(path, "holds dataset '3dhp', not 'h36m' as DATASET.DATASET says")
    with h5py.File(path, "r+") as file:
        file["dataset"].attrs["schema_version"] = 99
    fails(path, "schema version 99", dataset="3DHP")
    with h5py.File(path, "r+") as file:
        file["dataset"].attrs["schema_version"] = np.bytes_("new")
    fails(path, "schema version new", dataset="3DHP")


def test_text_of_variable_length_is_refused_unread(tmp_path):
    """libhdf5 loops without end on a damaged one, so none is ever read."""
    path = write_columnar(tmp_path / "f.h5", "h36m", {"testset": make_columns("h36m", 2)})
    with h5py.File(path, "r+") as file:
        file["dataset"].attrs["source"] = "a text of variable length"
    fails(path, "attribute 'source' is text of variable length")


@pytest.mark.parametrize("link", ["external", "soft", "virtual", "raw file"])
def test_nothing_outside_the_file_is_opened(tmp_path, link):
    source = write_columnar(tmp_path / "source.h5", "h36m", {"testset": make_columns("h36m", 2)})
    path = tmp_path / "f.h5"
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "r+") as file:
        group = file["dataset/testset"]
        del group["gt_3d"]
        if link == "external":
            group["gt_3d"] = h5py.ExternalLink(str(source), "/dataset/testset/gt_3d")
        elif link == "soft":
            group["gt_3d"] = h5py.SoftLink("/dataset/testset/nowhere")
        elif link == "virtual":
            layout = h5py.VirtualLayout((2, 3, 17), "f4")
            layout[:] = h5py.VirtualSource(source, "dataset/testset/gt_3d", (2, 3, 17))
            group.create_virtual_dataset("gt_3d", layout)
        else:
            group.create_dataset("gt_3d", (2, 3, 17), "f4", external=[("/etc/hostname", 0, 408)])
    fails(path, "link to elsewhere|stored in another file")


def test_outsized_claims_cost_no_memory(tmp_path, layout):
    path = tmp_path / "f.h5"
    if layout == "published":
        with h5py.File(path, "w") as file:
            file.create_dataset("dataset/testset", shape=(10**12,), dtype=published_dtype("h36m"), chunks=(1,))
    else:
        write_columnar(path, "h36m", {"testset": make_columns("h36m", 2)})
        with h5py.File(path, "r+") as file:
            for column in file["dataset/testset"].values():
                column.resize(10**12, axis=0)
    fails(path, "claims 1000000000000 rows")


def test_unwritten_rows_and_outsized_chunks_are_refused(tmp_path):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("dataset/testset", shape=(1000,), dtype=published_dtype("h36m"), chunks=(1,))
    fails(path, "never written")
    with h5py.File(path, "w") as file:
        file.create_dataset("dataset/testset", shape=(9000,), dtype=published_dtype("h36m"), chunks=(9000,))
    fails(path, "smaller ones")


def test_filters_that_leave_nothing_say_what_there_is(tmp_path, layout):
    columns = make_columns("h36m", 4)
    columns["hardsubset"][:] = 0
    path = WRITERS[layout](tmp_path / "f.h5", "h36m", {"testset": columns})
    fails(path, r"no rows of action 'Running' \(it has: Directions, Sitting\)", actions=["Running"])
    fails(path, r"no rows of subject 'S1' \(it has: S11, S9\)", subjects=["S1"])
    fails(path, "none of its 4 rows is left by stride 1, hard rows only .*subjects S11, S9", hard_only=True)
    fails(path, "none of its 4 rows is left", actions=["Sitting"], stride=3, subjects=["S9"])
    for options, message in (
        ({"stride": 0}, "stride 0: it must be at least 1"),
        ({"condition_key": "p3d"}, "MODEL.CONDITION_KEY is one of heatmaps, p2d_hrnet, p2d_gt"),
    ):
        with pytest.raises(DiffPoseError, match=message):
            PoseDataset(path, split="test", **options)


def damage_row(columns: dict, defect: str) -> None:
    """Spoil row 2 of (5) rows."""
    if defect == "nan pose":
        columns["gt_3d"][2, 1, 7] = np.nan
    elif defect == "no value":
        columns["heatmap"][2, 5] = -0.25
    else:
        columns["heatmap"][2, 4, 10, 20] = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "-nan": -np.nan}[defect]


DEFECTS = {
    "nan pose": "gt_3d holds NaN or infinite values",
    "no value": "joint LFoot has no positive value",
    "nan": "joint LKnee holds NaN or infinite",
    "-nan": "joint LKnee holds NaN or infinite",
    "inf": "joint LKnee holds NaN or infinite",
    "-inf": "joint LKnee holds NaN or infinite",
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_an_unusable_row_is_named_or_skipped(tmp_path, layout, defect):
    columns = make_columns("h36m", 5)
    damage_row(columns, defect)
    path = WRITERS[layout](tmp_path / "f.h5", "h36m", {"testset": columns})
    text = fails(path, f"testset row 2: .*{DEFECTS[defect]}")
    assert "--skip_bad" in text
    dataset = PoseDataset(path, split="test", skip_bad=True, show_progress=False)
    items = dataset.__getitems__(range(5))
    assert [bool(item["valid"]) for item in items] == [True, True, False, True, True]
    assert all(bool(value.isfinite().all()) for value in items[2].values())
    assert (items[2]["heatmap"].amax(dim=(1, 2)) > 0).all()
    np.testing.assert_array_equal(items[3]["heatmap"], columns["heatmap"][3])
    if defect == "nan pose":
        assert len(dataset.poses_mm()) == 4
        with pytest.raises(DiffPoseError, match="row 2"):
            PoseDataset(path, split="test").poses_mm()


@pytest.mark.parametrize("value", [np.nan, 0.5])
def test_an_unusable_2d_pose_is_named_or_skipped(tmp_path, value):
    columns = make_columns("h36m", 3)
    columns["argmax_2d"][1] = value
    path = write_columnar(tmp_path / "f.h5", "h36m", {"testset": columns})
    fails(path, "testset row 1: argmax_2d holds NaN, infinite or coinciding", condition_key="p2d_hrnet")
    dataset = PoseDataset(path, split="test", condition_key="p2d_hrnet", skip_bad=True)
    assert not dataset[1]["valid"]
    assert (dataset[1]["pose_2d"] == 0).all()


def test_a_corrupt_chunk_names_the_row(tmp_path):
    path = write_columnar(tmp_path / "f.h5", "h36m", {"testset": make_columns("h36m", 5)})
    with h5py.File(path) as file:
        chunk = file["dataset/testset/heatmap"].id.get_chunk_info(3)
    with open(path, "r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(b"\xff" * 40)
    fails(path, "testset heatmap row 3 cannot be read")


def test_a_corrupt_chunk_of_a_table_names_the_rows(tmp_path):
    columns = make_columns("h36m", 6)
    path = write_published(tmp_path / "f.h5", "h36m", {"testset": columns}, chunk_rows=2, compression=1)
    with h5py.File(path) as file:
        chunk = file["dataset/testset"].id.get_chunk_info(1)
    with open(path, "r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(b"\xff" * 40)
    fails(path, "testset rows 0 to 5 cannot be read")
    assert list(tmp_path.iterdir()) == [path]
