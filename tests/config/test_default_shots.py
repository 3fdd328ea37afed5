"""The default number of demonstrations fits the labeled rows; a given number is not changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.config.evaluation import EvalConfig
from promptkit.config.prompt import DEFAULT_SHOTS
from promptkit.core.errors import TaskError
from promptkit.manipulate.prompt import Prompt
from tests.support.errors import refused


def config(folder: Path, counts: dict[str, int], **options: Any) -> EvalConfig:
    rows = [f"{label} number {n},{label}\n" for label, count in counts.items() for n in range(count)]
    path = folder / f"rows{len(rows)}.csv"
    path.write_text("text,label\n" + "".join(rows), encoding="utf-8")
    return EvalConfig(task=str(path), model="fake", **options)


def shots(config: EvalConfig) -> int:
    prompt = config.build()[0].manipulate
    assert isinstance(prompt, Prompt)
    return prompt.selector.k or 0


def test_many_rows_have_the_default(tmp_path: Path) -> None:
    assert shots(config(tmp_path, {"a": 60, "b": 60})) == DEFAULT_SHOTS


@pytest.mark.parametrize("folds", [None, 1, 3])
@pytest.mark.parametrize("demos", [None, "random", "bm25"])
def test_a_small_file_has_fewer_demonstrations(tmp_path: Path, folds: int | None, demos: str | None) -> None:
    small = config(tmp_path, {"common": 14, "rare": 5}, folds=folds, demos=demos)
    count = shots(small)
    assert 0 < count <= DEFAULT_SHOTS
    run = small.run(out=tmp_path / "runs")
    assert run.ids
    if count < DEFAULT_SHOTS:
        with refused(TaskError, "too-few-rows" if demos else "too-few-rows-of-label"):
            config(tmp_path, {"common": 14, "rare": 5}, folds=folds, demos=demos, shots=count + 1).run(out=tmp_path / "runs")


def test_a_file_without_enough_rows_for_any_is_refused(tmp_path: Path) -> None:
    tiny = config(tmp_path, {"a": 1, "b": 1})
    with pytest.raises(pk.PromptkitError):
        tiny.build()
