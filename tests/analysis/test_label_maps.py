"""Label maps of finished runs as tables, JSON and heat maps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.align.labelmap.mapping import LabelMap
from promptkit.analysis.label_maps import hand_written, label_maps, most_weighted
from promptkit.analysis.realign import align
from promptkit.cli.main import main
from promptkit.core.errors import InputError
from tests.support.errors import refused
from tests.support.probe_runs import FEW, WORDS, run, write_task

MAPS = [f"blm+:{FEW}:tokens=20", f"semantic:{FEW}:tokens=20", f"full:{FEW}:tokens=20", f"full:towards=semantic:{FEW}:tokens=20"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> pk.Run:
    folder = tmp_path_factory.mktemp("maps")
    return run(write_task(folder / "task"), folder / "runs", [*MAPS, f"hidden:{FEW}"])


def test_the_maps_of_a_run_are_fitted_again_from_its_files(finished: pk.Run) -> None:
    maps = label_maps(finished.path).maps
    of_run = {result.align: result.label_maps[0] for result in finished.results if result.label_maps}
    assert [*maps] == [*of_run]
    assert len(maps) == len(MAPS)  # the probe has none
    for name, label_map in maps.items():
        assert label_map.sources == of_run[name].sources
        assert np.array_equal(label_map.weights, of_run[name].weights)


def test_tables_and_json_have_the_highest_weights(finished: pk.Run) -> None:
    name = finished.results[0].align
    maps = label_maps(f"{finished.path}:{name}")
    (weights,) = maps.to_json(3).values()
    assert weights == finished.results[0].label_maps[0].table(3)
    assert finished.to_json()["label_maps"][name] == finished.results[0].label_maps[0].table()
    (table,) = maps.tables(3)
    for label, *cells in table.rows:
        expected = [f"{source!r} {weight:.2f}" for source, weight in weights[label].items()]
        assert [cell for cell in cells if cell] == expected


def test_classes_that_are_chosen_by_name_are_printed_with_the_results(finished: pk.Run) -> None:
    by_name = {result.align: result.label_maps[0].named for result in finished.results if result.label_maps}
    semantic, anchored = finished.results[1].align, finished.results[3].align
    assert [name for name, named in by_name.items() if named] == [semantic, anchored]
    for name in (semantic, anchored):
        for label in WORDS:
            note = f"{name}, label {label}: {', '.join(by_name[name][label])}"
            assert note in finished.notes
            assert note in align(finished.path).notes()
    semantic_map = finished.results[1].label_maps[0]
    assert all(semantic_map.table()[label].keys() == set(semantic_map.named[label]) for label in WORDS)


def test_a_map_that_was_written_by_hand_is_shown() -> None:
    label_map = hand_written(pk.Classes(["a", "b"], classes={"a": ["cat", "dog"], "b": "boat"}))
    assert label_map is not None
    assert label_map.table() == {"a": {"cat": 1.0, "dog": 1.0}, "b": {"boat": 1.0}}
    assert hand_written(pk.Classes(["a", "b"])) is None


def test_a_heat_map_shows_the_weights_of_the_best_source_classes(finished: pk.Run) -> None:
    maps = label_maps(finished.path)
    panels = [axes for axes in maps.plot().findobj(lambda each: hasattr(each, "get_images")) if axes.get_images()]
    for axes, label_map in zip([each for each in panels if each.get_ylabel() != "weight"], maps.maps.values(), strict=True):
        columns = most_weighted(label_map)
        assert np.allclose(axes.get_images()[0].get_array(), label_map.weights[columns].T)
        assert [tick.get_text() for tick in axes.get_yticklabels()] == list(WORDS)
        assert len(axes.get_xticklabels()) == len(columns)


def test_many_labels_share_the_columns_of_a_heat_map() -> None:
    weights = np.random.default_rng(0).random((100, 30))
    label_map = LabelMap(sources=tuple(map(str, range(100))), labels=tuple(f"l{i}" for i in range(30)), weights=weights)
    columns = most_weighted(label_map)
    assert len(columns) <= 40
    assert columns[0] == weights[:, 0].argmax()


def test_the_command_prints_json_and_draws(
    finished: pk.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def typed(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["promptkit", *words])
        with pytest.raises(SystemExit):
            main()
        return capsys.readouterr().out

    figure = tmp_path / "maps.png"
    printed: Any = json.loads(typed("labelmap", str(finished.path), "--json", "--most", "2", "--plot", str(figure)))
    assert printed == label_maps(finished.path).to_json(2)
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "'" in typed("labelmap", f"{finished.path}:{finished.results[1].align}")


def test_a_run_without_label_maps_and_an_unknown_branch_are_refused(finished: pk.Run, tmp_path: Path) -> None:
    plain = pk.evaluate(
        pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), pk.Verbalizer(WORDS)),
        write_task(tmp_path / "task"),
        limit=4,
        out=tmp_path,
    )
    with refused(InputError, "no-label-map", folder=str(plain.path)):
        label_maps(plain.path)
    with refused(InputError, "unknown-name"):
        label_maps(f"{finished.path}:nothing")
