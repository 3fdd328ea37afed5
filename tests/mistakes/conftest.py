from __future__ import annotations

from collections.abc import Iterator

import pytest

import promptkit as pk
from tests.mistakes.calls import PROMPT, WORDS, predictor, task, trained
from tests.support.tiny import save_reviews


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder with a task, a saved manipulation and the shards of a run."""
    path = tmp_path_factory.mktemp("arguments")
    save_reviews(path, 40, hold_out=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        (path / "x").mkdir()
        (path / "x" / "file").touch()  # so that the text x, one of the wrong values, is never a new folder
        pk.save_manipulation(trained(), "saved")
        for n in (1, 2):
            pk.evaluate_shard(predictor(), task(), pk.Shard(n, 2), limit=2, out=f"shard{n}")
        chain = [pk.Verbalizer(WORDS), pk.labelmap.Frequency(per_class=1)]
        pk.evaluate(pk.Predictor(pk.load("fake"), pk.Prompt(PROMPT), chain), task(), limit=4, out="mapped")
        yield
