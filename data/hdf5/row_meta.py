"""What names a row (action, subject, sub-action, camera, frame, hard or not), kept in a few bytes per row."""

from collections.abc import Iterator, Mapping

import numpy as np

from data.schema import META_COLUMNS


def categorise(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values, sorted, and each row's index among them as the smallest unsigned integers.

    Files come in runs of equal values, so only the first value of each run is sorted.
    """
    if not len(values):
        return values, np.zeros(0, np.uint8)
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    categories, codes = np.unique(values[starts], return_inverse=True)
    codes = codes.astype(np.min_scalar_type(len(categories)))
    return categories, np.repeat(codes, np.diff(np.append(starts, len(values))))


class RowMeta(Mapping[str, np.ndarray]):
    """Columns by name, aligned with the rows: str arrays for the names, ``frame_orig`` int32, ``hardsubset`` bool.

    Strings are held as category codes (a 390,000-row split takes 4 MB) and made into a str array when first asked for.
    """

    def __init__(self, columns: Mapping[str, np.ndarray]):
        self._codes: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._plain: dict[str, np.ndarray] = {}
        self._decoded: dict[str, np.ndarray] = {}
        for name in META_COLUMNS:
            values = columns[name]
            if values.dtype.kind == "S":
                categories, codes = categorise(values)
                self._codes[name] = (np.char.decode(categories, "utf-8", "replace"), codes)
            else:
                self._plain[name] = values.astype(bool if name == "hardsubset" else np.int32, copy=False)

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self._plain:
            return self._plain[name]
        if name not in self._decoded:
            categories, codes = self._codes[name]
            self._decoded[name] = categories[codes]
        return self._decoded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(META_COLUMNS)

    def __len__(self) -> int:
        return len(META_COLUMNS)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_decoded": {}}

    def categories(self, name: str) -> list[str]:
        """The distinct values of a text column among these rows."""
        categories, codes = self._codes[name]
        return [str(text) for text in categories[np.unique(codes)]]

    def is_among(self, name: str, wanted: list[str] | tuple[str, ...]) -> np.ndarray:
        """(rows,) bool: the text column has one of the wanted values."""
        categories, codes = self._codes[name]
        return np.isin(categories, list(wanted))[codes]

    def take(self, rows: np.ndarray) -> "RowMeta":
        """The same columns for a selection of rows."""
        taken = object.__new__(RowMeta)
        taken._codes = {name: (categories, codes[rows]) for name, (categories, codes) in self._codes.items()}
        taken._plain = {name: values[rows] for name, values in self._plain.items()}
        taken._decoded = {}
        return taken
