"""The id, split and part of a row depend on what it shows to a model, and on nothing else."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.examples import LabeledExample
from promptkit.core.fingerprints import Fingerprint, SeenRows
from promptkit.tasks.task import Task

Texts = list[tuple[str, str]]
letters = st.text(st.characters(codec="utf-8", categories=("L", "N")), max_size=3)
pairs = st.lists(st.tuples(letters, letters).filter(any), min_size=1, max_size=30)
PARTS = ("pool", "fit", "dev")


def template(first: str, second: str) -> str:
    block = "{% block input %}" + f"{{{{ {first} }}}} / {{{{ {second} }}}}" + "{% endblock %}"
    return block + "{% block target %} {{ label }}{% endblock %}"


def csv_task(folder: Path, texts: Texts, names: tuple[str, str], extra: dict[str, str]) -> Task:
    """A data file with other names, other columns and its columns in another order."""
    folder.mkdir(parents=True)
    path = folder / f"{names[0]}.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*extra, names[1], "kind", names[0]])
        writer.writerows([*(f"{value} {i}" for value in extra.values()), b, "no", a] for i, (a, b) in enumerate(texts))
    return pk.task(path, template=template(*names), label="kind", labels=["no", "yes"])


def yaml_task(folder: Path, texts: Texts, *, hold_out: float | None = 0.5) -> Task:
    """A task file with other variables than columns, an input that its template does not use, and the template in a file."""
    folder.mkdir(parents=True)
    lines = (json.dumps({"a": a, "b": b, "number": str(i), "label": "no"}) for i, (a, b) in enumerate(texts))
    (folder / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    (folder / "t.j2").write_text(template("x", "y"), "utf-8")
    inputs = {"y": "b", "x": "a", "number": "number"}
    source = {"files": {"test": "rows.jsonl"}, "inputs": inputs, "label": "label", "hold_out": hold_out}
    spec = {"description": "d", "template": "t.j2", "labels": {"no": "n", "yes": "y"}, "sources": [source]}
    (folder / "t.yaml").write_text(json.dumps(spec), "utf-8")
    return pk.task(folder / "t.yaml")


def divided(task: Task) -> dict[str, list[tuple[str, frozenset[str]]]] | str:
    """Split or part -> its ids and contents, sorted, or the code of the error for rows that all show the same."""

    def described(rows: list[LabeledExample]) -> list[tuple[str, frozenset[str]]]:
        return sorted((row.id, row.content.shown) for row in rows)

    try:
        splits = {name: described([*task.rows(name)]) for name in ("train", "test")}
        return splits | {part: described([*task.part(part)]) for part in PARTS}  # type: ignore[arg-type]
    except pk.PromptkitError as error:
        return error.code


@given(texts=pairs, order=st.randoms(use_true_random=False), extra=st.dictionaries(st.sampled_from(["id", "when"]), letters))
def test_a_row_is_the_same_in_every_form_of_its_data(
    tmp_path_factory: pytest.TempPathFactory, texts: Texts, order: object, extra: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("forms", numbered=True)
    shuffled = [*texts]
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    results = [
        divided(task)
        for task in (
            csv_task(folder / "a", texts, ("subject", "body"), {}),
            csv_task(folder / "deep/er", shuffled, ("z", "a"), extra),
            yaml_task(folder / "yaml", texts, hold_out=None),
        )
    ]
    assert results[0] == results[1] == results[2]


@given(texts=pairs, more=pairs)
def test_growing_a_file_keeps_every_row_in_its_split_and_part(
    tmp_path_factory: pytest.TempPathFactory, texts: Texts, more: Texts
) -> None:
    base: Texts = [(f"row {number}", "") for number in range(20)]  # so that no split is empty
    folder = tmp_path_factory.mktemp("growing", numbered=True)
    before, after = (
        divided(yaml_task(folder / name, rows)) for name, rows in (("a", base + texts), ("b", [*base, *texts, *more]))
    )
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    for name, rows in before.items():
        assert {content for _, content in rows} <= {content for _, content in after[name]}


def test_a_run_does_not_depend_on_where_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [(f"first {number}", f"second {number}") for number in range(30)]
    paths = []
    for name in ("here", "elsewhere/deeper"):
        yaml_task(tmp_path / name, texts)
        monkeypatch.chdir(tmp_path / name)
        for spelling in ("t.yaml", str(tmp_path / name / "t.yaml")):
            task = pk.task(Path(spelling))
            prompt = pk.Prompt(task.spec.template, demos=pk.demos.Random(k=2))
            predictor = pk.Predictor(pk.load("fake"), prompt, pk.Verbalizer({"no": "n", "yes": "y"}))
            paths.append(pk.evaluate(predictor, task, out=tmp_path / "runs", cache=False).path.name)
    assert len({*paths}) == 1


def test_a_row_is_recognized_by_what_one_of_the_two_shows() -> None:
    trained = Fingerprint.of(["subject", "body"], ["17", "chat"])
    seen = SeenRows([trained, Fingerprint.of(["another", "body"])])
    assert Fingerprint.of(["body", "subject"]) in seen
    assert Fingerprint.of(["body"]) in seen  # a template with fewer columns
    assert Fingerprint.of(["body", "subject", "more"]) in seen  # and with more
    assert Fingerprint.of(["chat", "body"]) in seen  # other columns of the same row
    assert Fingerprint.of(["body", "new"], ["subject", "18"]) in seen  # of which the trained ones are not shown
    assert Fingerprint.of(["body", "new"]) not in seen
    assert Fingerprint.of(["17 "]) not in seen
    assert Fingerprint.of([""]) not in seen
    assert Fingerprint.of(["subject", "", "body"]) in seen


fingerprints = st.builds(
    Fingerprint.of, st.lists(st.sampled_from("abcd"), min_size=1, max_size=3), st.lists(st.sampled_from("abcde"))
)


@given(rows=st.lists(fingerprints), row=fingerprints)
def test_a_set_of_rows_contains_what_a_comparison_of_each_finds(rows: list[Fingerprint], row: Fingerprint) -> None:
    assert (row in SeenRows(rows)) == any(row.is_same_row(other) for other in rows)
    assert Fingerprint.parse(str(row)) == row
