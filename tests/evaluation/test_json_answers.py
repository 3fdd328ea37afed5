"""Runs, baselines and saved predictors of tasks whose answers are JSON objects."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.errors import InputError
from promptkit.core.json_schema import find_object
from tests.support.errors import refused

CITIES = ("Rome", "Oslo", "Lima")
SCHEMA = {"city": [*CITIES], "guests": {"type": "integer", "minimum": 1, "maximum": 4}}
TEMPLATE = "{% block input %}Text: {{ text }}\nJSON:{% endblock %}{% block target %} {{ label }}{% endblock %}"


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bookings")
    rows = [{"text": f"row {i}", "city": CITIES[i % 5 % 3], "guests": 1 + i % 7 % 4} for i in range(80)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "t.j2").write_text(TEMPLATE)
    source = {
        "files": {"test": "rows.jsonl"},
        "inputs": {"text": "text"},
        "label": {"city": "city", "guests": "guests"},
        "hold_out": 0.5,
    }
    content = {"description": "bookings", "template": "t.j2", "answer": {"json": {"schema": SCHEMA}}, "sources": [source]}
    (folder / "bookings.yaml").write_text(json.dumps(content))
    return pk.task(folder / "bookings.yaml")


def predictor(**settings):
    prompt = pk.Prompt(TEMPLATE, demos=pk.demos.First(k=2))
    return pk.Predictor(pk.load("fake"), prompt, pk.extract.Json(schema=SCHEMA, max_tokens=60, **settings))


def metrics_of(run):
    return next(result for result in run.results if result.align == "json").metrics


def records(run):
    return [json.loads(line) for line in (run.path / "samples.jsonl").read_text().splitlines()]


def test_the_metrics_of_fields_are_those_of_the_predictions(task, tmp_path):
    run = pk.evaluate(predictor(), task, out=tmp_path)
    metrics = metrics_of(run)
    rows = records(run)
    pairs = [(find_object(row["prediction"]), find_object(row["gold"])) for row in rows]
    shares = {name: sum(found[name] == gold[name] for found, gold in pairs) / len(pairs) for name in SCHEMA}
    assert metrics["valid_json"]["value"] == 1
    assert metrics["no_answer"]["value"] == 0
    for name, share in shares.items():
        assert metrics[f"field@{name}"]["value"] == pytest.approx(share, abs=1e-6)
    assert metrics["field_mean"]["value"] == pytest.approx(sum(shares.values()) / 2, abs=1e-6)
    assert metrics["exact_match"]["value"] == pytest.approx(sum(a == b for a, b in pairs) / len(pairs), abs=1e-6)


def test_a_free_text_records_what_is_wrong_with_its_object(task, tmp_path):
    reader = pk.extract.Json(schema=SCHEMA, constrain=False)
    run = pk.evaluate(predictor(constrain=False), task, out=tmp_path, limit=5)
    assert metrics_of(run)["valid_json"]["value"] == 0
    problems = reader.problems('{"city": "Paris", "age": 3}')
    assert problems == {"city": "not allowed", "guests": "missing", "age": "unknown field"}


def test_the_baseline_has_the_most_frequent_value_of_each_field(task, tmp_path):
    config = pk.EvalConfig(task=str(task.file), model="fake", shots=2)
    run = config.run(out=tmp_path)
    frequent = next(each for each in run.baselines.results if each.name == "frequent-fields")
    rows = [find_object(row.label) for row in (*task.part("pool"), *task.part("fit"))]
    answer = find_object(frequent.predictions[0])
    for name in SCHEMA:
        values = [row[name] for row in rows]
        assert values.count(answer[name]) == max(map(values.count, values))
    golds = [find_object(row["gold"]) for row in records(run)]
    share = sum(gold["city"] == answer["city"] for gold in golds) / len(golds)
    assert frequent.metrics["field@city"]["value"] == pytest.approx(share, abs=1e-6)


def test_the_baseline_of_one_field_is_its_most_frequent_value(task, tmp_path):
    run = pk.EvalConfig(task=str(task.file), model="fake", shots=2, extract="json_field:field=city").run(out=tmp_path)
    golds = [find_object(row["gold"])["city"] for row in records(run)]
    for result in run.baselines.results:
        share = golds.count(result.predictions[0]) / len(golds)
        assert result.metrics["exact_match"]["value"] == pytest.approx(share, abs=1e-6)
        assert share > 0


@pytest.mark.parametrize("settings", [{}, {"samples": 3, "temperature": 1.0}])
def test_a_saved_predictor_predicts_the_same_objects(task, tmp_path, settings):
    fitted = predictor(**settings).fit(task)
    fitted.save(tmp_path / "saved")
    rows = [{"text": "row 1"}, {"text": "a table in Oslo"}]
    expected = [answer.prediction for answer in fitted.predict(rows)]
    loaded = pk.Predictor.load(tmp_path / "saved")
    assert [answer.prediction for answer in loaded.predict(rows)] == expected
    assert all(fitted.reader.is_valid(answer) for answer in expected)


def test_constrain_is_an_option_with_two_values(task):
    for value, expected in (("on", True), (False, False), (None, True)):
        config = pk.EvalConfig(task=str(task.file), model="fake", constrain=value)
        assert config.build_first_aligner(task).constrain is expected
    with refused(InputError, "unknown-name"):
        pk.EvalConfig(task=str(task.file), model="fake", constrain="maybe").build_first_aligner(task)


# ---- equal numbers ---------------------------------------------------------------------------------

PRICES = {"price": {"type": ["number", "boolean"]}}


@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3), st.lists, max_leaves=5))
def test_equal_values_have_one_text(value):
    def with_floats(item):
        if isinstance(item, list):
            return [*map(with_floats, item)]
        return float(item) if type(item) is int else item

    reader = pk.extract.Json()
    plain, floats = json.dumps({"a": value}), json.dumps({"a": with_floats(value)})
    assert reader.find(plain) == reader.find(floats)
    assert json.loads(reader.find(floats)) == {"a": value}
    assert reader.normalized(plain) == reader.normalized(floats)


@pytest.mark.parametrize(("number", "other"), [("1", "1.0"), ("100", "1e2"), ("-3", "-3.00"), ("0.5", "5E-1"), ("0", "-0.0")])
def test_json_fields_with_equal_numbers_are_equal(number, other):
    reader = pk.extract.JsonField(field="n", normalize="exact")
    found = {reader.find(f'{{"n": {text}}}') for text in (number, other)}
    assert found == {number}
    assert reader.is_correct(number, [other])
    assert reader.is_correct(reader.find(f'{{"n": {other}}}'), [number])


def test_true_is_not_one():
    reader = pk.extract.Json(schema=PRICES)
    assert not reader.is_correct('{"price": true}', ['{"price": 1}'])
    assert not reader.is_correct('{"price": "1"}', ['{"price": 1}'])
    assert reader.is_correct('{"price": 1.0}', ['{"price": 1}'])


def test_baselines_count_equal_numbers_as_one_value(tmp_path):
    """1 and 1.0 together are more frequent than 2, and each alone is less frequent."""
    prices = [1] * 3 + [1.0] * 3 + [2] * 4 + [True] * 2
    rows = [{"text": f"row {i}", "answer": {"price": prices[i % len(prices)]}} for i in range(96)]
    task = pk.task(rows, answer="answer", schema=PRICES, name="prices", template=TEMPLATE)
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt(TEMPLATE), pk.extract.Json(schema=PRICES, max_tokens=4))
    run = pk.evaluate(predictor, task, out=tmp_path, limit=24, cache=False, progress=False)
    assert {text for result in run.baselines.results for text in result.predictions} == {'{"price": 1}'}
    assert set(run.gold) == {'{"price": 1}', '{"price": 2}', '{"price": true}'}
