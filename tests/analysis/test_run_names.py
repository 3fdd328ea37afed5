"""Short names of compared runs are unique, and contain only what distinguishes the folders."""

from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.analysis.run_names import short_names

FOLDERS = st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map(lambda parts: PurePath(*parts)), min_size=1)


@pytest.mark.parametrize(
    ("runs", "names"),
    [
        (
            [("monday/x-1", None), ("tuesday/x-2", "batch"), ("tuesday/x-2", "tfidf")],
            ["monday", "tuesday:batch", "tuesday:tfidf"],
        ),
        ([("runs/x-1", None), ("runs/x-2", "batch")], ["x-1", "x-2:batch"]),
        ([("a/x-1", None), ("a/x-2", None), ("b/x-1", None)], ["a/x-1", "a/x-2", "b"]),
        ([("/data/runs/x-1", "batch"), ("/data/runs/x-1", "tfidf")], ["x-1:batch", "x-1:tfidf"]),
        ([("x-1", None)], ["x-1"]),
    ],
)
def test_examples(runs: list[tuple[str, str | None]], names: list[str]) -> None:
    assert short_names([(PurePath(folder), branch) for folder, branch in runs]) == names


@given(FOLDERS)
def test_different_folders_have_different_names(folders: list[PurePath]) -> None:
    names = short_names([(folder, None) for folder in folders])
    assert len(set(names)) == len(set(folders))
    assert all(name in str(folder) for name, folder in zip(names, folders, strict=True))
