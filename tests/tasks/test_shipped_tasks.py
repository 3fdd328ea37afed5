"""The tasks that promptkit ships: their files and the bundled data."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import promptkit as pk
from promptkit.align.chain import reader_for
from promptkit.align.verbalizer import Verbalizer
from promptkit.core import paths as resources
from promptkit.core.errors import PromptkitError
from promptkit.inputs.image import image_input
from promptkit.inputs.text.template import Template
from promptkit.tasks.images.bundled import bundled_rows
from promptkit.tasks.task import Task
from promptkit.tasks.task_files import load_task, read_shipped_specs
from tests.support.paths import DATA as SHARED

SHIPPED = resources.names("evals", ".yaml")
OF_TEXTS = [name for name, spec in read_shipped_specs().items() if spec.modality == "text"]
OF_IMAGES = [name for name, spec in read_shipped_specs().items() if spec.modality == "image"]
ROWS = {"digits": (882, 915), "fashion_mnist": (60000, 10000), "mnist": (60000, 10000)}
"""Task of images -> the numbers of its train and test rows."""


def test_every_shipped_task_has_a_definition():
    assert list(read_shipped_specs()) == SHIPPED
    assert "sentiment" in SHIPPED


@pytest.mark.parametrize("name", OF_TEXTS)
def test_every_source_provides_the_variables_of_the_template(name):
    spec = read_shipped_specs()[name]
    needed = Template.load(spec.template).variables - {"label", "labels"}
    assert all(needed <= source.inputs.keys() | source.rationale.keys() for source in spec.sources)
    if spec.labels is not None:
        assert Verbalizer(spec.labels).labels == tuple(spec.labels)


@pytest.mark.parametrize("name", SHIPPED)
def test_all_sources_have_the_same_inputs_and_declared_labels(name):
    spec = read_shipped_specs()[name]
    assert len({frozenset(source.inputs) for source in spec.sources}) == 1
    assert all(set((source.label_ids or {}).values()) <= (spec.labels or {}).keys() for source in spec.sources)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_answer_settings_of_every_shipped_task_are_valid(name):
    spec = read_shipped_specs()[name]
    task = Task(name, spec, spec.sources[0], Path())
    assert reader_for(task).name


@pytest.mark.parametrize("name", [name for name in SHIPPED if name.startswith("bbh/")])
def test_bbh_tasks_have_50_pool_rows_and_200_test_rows(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED} has no {name}")
    task = load_task(name, data=SHARED)
    assert (len(task.pool()), len(task.rows("test"))) == (50, 200)
    assert not {row.id for row in task.pool()} & {row.id for row in task.rows("test")}
    assert task.part("fit") == task.part("dev") == []


@pytest.fixture(scope="module")
def sentiment():
    task = load_task("sentiment")
    return {split: task.rows(split) for split in ("train", "test")}


def test_the_bundled_sentiment_data_are_large_enough_and_balanced(sentiment):
    assert len(sentiment["train"]) >= 150
    assert len(sentiment["test"]) >= 250
    for rows in sentiment.values():
        assert sum(example.label == "positive" for example in rows) == len(rows) / 2


def test_the_bundled_sentiment_data_have_no_near_duplicates_within_or_across_splits(sentiment):
    texts = [example.inputs["text"] for rows in sentiment.values() for example in rows]
    words = [frozenset(re.findall(r"\w+", text.lower())) for text in texts]
    near_duplicates = [
        (texts[i], texts[j])
        for i, j in combinations(range(len(texts)), 2)
        if len(words[i] & words[j]) >= 0.6 * len(words[i] | words[j])
    ]
    assert len(set(texts)) == len(texts)
    assert not near_duplicates


def test_the_bundled_sentiment_texts_have_no_surrounding_whitespace_or_line_breaks(sentiment):
    texts = [example.inputs["text"] for rows in sentiment.values() for example in rows]
    assert all(text == text.strip() and text and "\n" not in text and "\r" not in text for text in texts)


def test_the_bundled_sentiment_parts_have_enough_rows_of_each_label(sentiment):
    task = load_task("sentiment")
    for part in ("pool", "fit", "dev"):
        labels = [example.label for example in task.part(part)]
        assert min(labels.count("negative"), labels.count("positive")) >= 8


@pytest.mark.parametrize("name", OF_IMAGES)
def test_images_of_shipped_tasks_have_the_declared_labels(name):
    try:
        task = load_task(name)
        rows = {split: task.rows(split) for split in ("train", "test")}
    except PromptkitError as error:
        if error.code not in ("data-not-found", "unreadable-dataset"):
            raise
        pytest.skip(str(error))
    counts = tuple(len(rows[split]) for split in ("train", "test"))
    assert counts == (ROWS[name] if task.source.bundled != "mnist-5k" else (3000, 2000))
    assert all({row.label for row in rows[split]} == set(task.labels) for split in rows)
    assert not {row.id for row in rows["train"]} & {row.id for row in rows["test"]} or name != "digits"
    pixels = image_input(rows["test"][0].inputs["image"], rows["test"][0].id).pixels
    assert pixels.shape == ((3, 8, 8) if name == "digits" else (3, 28, 28))
    assert 0.5 < pixels.numpy().max() <= 1


@pytest.mark.parametrize("name", OF_TEXTS)
def test_shipped_tasks_run_and_resume(name, tmp_path):
    spec = read_shipped_specs()[name]
    mirrored = next((source.mirror for source in spec.sources if source.mirror), None)
    if mirrored is not None and not (SHARED / mirrored).is_dir():
        pytest.skip(f"{SHARED} has no {mirrored}")
    task = load_task(name, data=SHARED if mirrored is not None else None)
    k = 2 * len(task.labels) if len(task.labels) < 10 else 2
    demos = pk.demos.Balanced(k=k) if 0 < len(task.labels) < 10 else pk.demos.Random(k=k or 2)
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt(spec.template, demos=demos), reader_for(task))
    run = pk.evaluate(predictor, task, limit=5, out=tmp_path)
    metrics = {
        "classification": {"accuracy", "macro_f1", "ece", "brier"},
        "choice": {"accuracy", "ece", "brier"},
        "multi-label": {"subset_accuracy"},
        "generation": {"exact_match", "no_answer"},
    }
    of_numbers = {"mae"} if spec.numeric or spec.scale else set()
    assert set(run.results[0].metrics) >= metrics[spec.kind] | of_numbers
    assert ("mae" in run.results[0].metrics) == bool(of_numbers)
    assert len(run.ids) == 5
    again = pk.evaluate(predictor, task, limit=5, out=tmp_path)
    assert again.to_json()["results"] == run.to_json()["results"]
    assert again.resumed == 5


def test_the_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    rows, digits = bundled_rows("digits"), load_digits()
    assert [row["label"] for row in rows] == digits.target.tolist()
    pixels = np.array([row["image"].numpy() for row in rows])
    assert (pixels == np.rint(digits.images * (255 / 16)).astype(np.uint8)).all()
