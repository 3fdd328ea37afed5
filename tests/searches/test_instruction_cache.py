"""Repeated and interrupted instruction searches do not ask the model again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.obedient import Obedient, search, standings

pytestmark = pytest.mark.usefixtures("search_folder")


@pytest.mark.parametrize("kind", ["labels", "texts"])
@pytest.mark.parametrize("method", ["ape", "opro"])
def test_a_repeated_search_does_not_query_the_model(kind: str, method: Any) -> None:
    first, again = Obedient(), Obedient()
    before, after = search(kind, first, method=method), search(kind, again, method=method)
    assert first.answered.total() > 0
    assert again.answered.total() == 0
    assert after.to_json() == before.to_json()
    other = search(kind, Obedient(), method=method, seed=2)
    assert other.origins != before.origins


@pytest.mark.parametrize("stop_after", [0, 12, 200, 500, 640])
def test_an_interrupted_search_continues_where_it_stopped(
    stop_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Obedient()
    expected = search("texts", full, out=tmp_path / "whole")
    monkeypatch.setenv("PROMPTKIT_SCORES", str(tmp_path / "others.sqlite"))
    broken, later = Obedient(stop_after=stop_after), Obedient()
    with pytest.raises(KeyboardInterrupt):
        search("texts", broken, out=tmp_path / "broken")
    actual = search("texts", later, out=tmp_path / "broken")
    assert standings(actual) == standings(expected)
    assert actual.comparison.to_json() == expected.comparison.to_json()
    assert (broken.answered.total() > 0) == (stop_after > 0)
    assert later.answered.total() == full.answered.total() - broken.answered.total()


def test_without_cache_the_result_is_the_same_and_nothing_is_stored() -> None:
    first, again = Obedient(), Obedient()
    before, after = search(model=first, cache=False, out="one"), search(model=again, cache=False, out="other")
    assert again.answered == first.answered
    assert standings(after) == standings(before)
