"""Pickles of strangers: arrays and plain containers come through, anything that could run does not."""

import io
import pickle

import numpy as np
import pytest

from data.preprocessing.threedpw.plain_pickle import load_plain_pickle
from tests.support.raw_data import latin1_pickle
from utils.errors import DiffPoseError

CONTENT = {
    "poses2d": [np.arange(12, dtype=np.float64).reshape(2, 6), np.array([[1, 2]], dtype=np.int32)],
    "sequence": "downtown_walking_00",
    "scalar": np.float32(2.5),
    "tuple": (1, None, True, 1.5),
    "objects": np.array(["a", 3], dtype=object),
    "fortran": np.asfortranarray(np.ones((3, 2))),
}


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return np.array_equal(a, b) and type(a) is type(b)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_python_3_pickles_come_through(tmp_path, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(CONTENT, protocol=protocol))
    assert same(load_plain_pickle(path), CONTENT)


def test_python_2_pickles_come_through(tmp_path):
    path = tmp_path / "a.pkl"
    content = latin1_pickle(CONTENT)
    assert b"numpy.core.multiarray\n_reconstruct" in content
    assert b"_codecs" not in content
    path.write_bytes(content)
    assert same(load_plain_pickle(path), CONTENT)


class Call:
    """Pickles to a call of ``function`` with ``arguments``."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def globals_of(module, name, argument):
    """A protocol-0 pickle that calls module.name(argument)."""
    return f"c{module}\n{name}\n(V{argument}\ntR.".encode()


def persistent(value):
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer)
    pickler.persistent_id = lambda item: "x" if isinstance(item, list) else None
    pickler.dump({"a": value})
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"poses2d": Call(print, "ran")}),
        pickle.dumps(Call(eval, "print('ran')")),
        globals_of("os", "system", "echo ran"),
        globals_of("posix", "system", "echo ran"),
        globals_of("numpy", "load", "file"),
        globals_of("numpy.core.multiarray", "fromfile", "file"),
        globals_of("numpy.core", "multiarray._reconstruct", "x"),
        globals_of("builtins", "getattr", "x"),
        b"c_codecs\nencode\n(Vx\nVzlib\ntR.",
        persistent([1]),
    ],
)
def test_code_is_refused_before_it_runs(tmp_path, capfd, content):
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(DiffPoseError, match=r"a\.pkl: not a readable pickle of arrays \(") as caught:
        load_plain_pickle(path)
    assert "\n" not in str(caught.value)
    assert "ran" not in capfd.readouterr().out


def test_damaged_and_missing_pickles_are_one_line(tmp_path):
    path = tmp_path / "a.pkl"
    whole = pickle.dumps(CONTENT)
    for content in (b"", whole[: len(whole) // 2], b"text", whole[5:]):
        path.write_bytes(content)
        with pytest.raises(DiffPoseError, match="not a readable pickle"):
            load_plain_pickle(path)
    path.unlink()
    with pytest.raises(DiffPoseError, match="not a readable pickle"):
        load_plain_pickle(path)
