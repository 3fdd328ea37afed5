import json
import subprocess
import sys
from contextlib import suppress
from itertools import combinations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core import paths as resources
from promptkit.core.errors import PromptkitError, TaskError
from promptkit.tasks.columns import cell_text
from promptkit.tasks.task_files import load_task
from tests.support.errors import refused

LABELS = {"negative": "Negative", "positive": "Positive"}
SHIPPED = resources.names("evals", ".yaml")


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch):
    monkeypatch.delenv("PROMPTKIT_DATA", raising=False)


@pytest.fixture(scope="module")
def make_task(tmp_path_factory):
    """Creates a task from rows, with further keys of its source: `make_task(rows, label_ids={0: "negative"})`."""

    def make(rows, *, split="train", labels=LABELS, **source):
        folder = tmp_path_factory.mktemp("task", numbered=True)
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        full_source = {"files": {split: "rows.jsonl"}, "inputs": {"text": "text"}, "label": "label"} | source
        return load_task(
            write(folder, description="made up", template="sentiment/review", labels=labels, sources=[full_source])
        )

    return make


def write(folder, **spec):
    path = folder / "made-up.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False), "utf-8")
    return path


def row(text, label="negative", **columns):
    return {"text": text, "label": label, **columns}


# ---- ids --------------------------------------------------------------------------------------------

rows_of = st.lists(st.builds(row, st.sampled_from("abcde") | st.text(max_size=5), st.sampled_from(sorted(LABELS))), min_size=1)


@given(rows=rows_of)
def test_ids_are_hashes_of_the_inputs_with_repeats_numbered(make_task, rows):
    examples = make_task(rows).rows("train")
    base_of = {}
    numbers = {}
    for example, given_row in zip(examples, rows, strict=True):
        base, _, number = example.id.partition("#")
        assert base_of.setdefault(given_row["text"], base) == base
        numbers.setdefault(base, []).append(int(number or 1))
    assert len(set(base_of.values())) == len(base_of)
    assert all(sorted(actual) == list(range(1, len(actual) + 1)) for actual in numbers.values())


@given(rows=rows_of, order=st.randoms(use_true_random=False))
def test_shuffling_a_file_changes_no_id(make_task, rows, order):
    shuffled = list(rows)
    order.shuffle(shuffled)
    before, after = (
        sorted((e.id, e.inputs["text"], e.label) for e in make_task(file_rows).rows("train")) for file_rows in (rows, shuffled)
    )
    assert before == after


@given(rows=rows_of, other=st.sampled_from(sorted(LABELS)))
def test_ids_do_not_depend_on_other_columns_or_on_labels_of_distinct_inputs(make_task, rows, other):
    extended = [{"extra": number, **given_row} for number, given_row in enumerate(rows)]
    assert [e.id for e in make_task(extended).rows("train")] == [e.id for e in make_task(rows).rows("train")]
    different = list({given_row["text"]: given_row for given_row in rows}.values())
    changed = [{**given_row, "label": other} for given_row in different]
    assert [e.id for e in make_task(changed).rows("train")] == [e.id for e in make_task(different).rows("train")]


def test_ids_do_not_depend_on_task_split_or_position(make_task):
    single = make_task([row("x")], split="test").rows("test")
    second = make_task([row("y"), row("x")], labels={"positive": "good", "negative": "bad"}).rows("train")
    assert single[0].id == second[1].id


def test_ids_do_not_depend_on_the_order_of_the_inputs(make_task):
    one, two = (
        make_task([row("x", other="y")], inputs={v: v for v in order}) for order in (["text", "other"], ["other", "text"])
    )
    assert one.rows("train")[0].id == two.rows("train")[0].id


# ---- parts of the train split -----------------------------------------------------------------------


@given(rows=rows_of)
def test_parts_partition_the_train_split_and_keep_equal_inputs_together(make_task, rows):
    task = make_task(rows)
    parts = {name: list(task.part(name)) for name in ("pool", "fit", "dev")}
    assert sorted(e.id for part in parts.values() for e in part) == sorted(e.id for e in task.rows("train"))
    texts = [{e.inputs["text"] for e in part} for part in parts.values()]
    assert not any(one & other for one, other in combinations(texts, 2))
    assert task.pool() == parts["pool"]


def test_parts_have_about_60_20_and_20_percent(make_task):
    task = make_task([row(f"text {number}") for number in range(2000)])
    shares = {name: len(task.part(name)) / 2000 for name in ("pool", "fit", "dev")}
    assert shares == pytest.approx({"pool": 0.6, "fit": 0.2, "dev": 0.2}, abs=0.04)


@given(rows=rows_of, more=rows_of, order=st.randoms(use_true_random=False))
def test_the_part_of_a_row_does_not_depend_on_other_rows_or_labels(make_task, rows, more, order):
    changed = [{**given_row, "label": "positive"} for given_row in rows + more]
    order.shuffle(changed)
    pool, wider = ({e.inputs["text"] for e in make_task(some).pool()} for some in (rows, changed))
    texts = {given_row["text"] for given_row in rows}
    assert pool == wider & texts


def test_parts_are_independent_of_the_order_of_a_run(make_task):
    """Parts and ids use different hashes; a run is ordered by the hash of the ids."""
    task = make_task([row(f"text {number}") for number in range(2000)])
    first = sorted(e.id for e in task.rows("train"))[:400]
    in_pool = sum(e.id in set(first) for e in task.pool())
    assert 200 < in_pool < 280  # 240 expected, standard deviation about 10


# ---- labels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "label"),
    [("negative", "negative"), ("positive", "positive"), (0, "negative"), (1, "positive"), ("1", "positive")],
)
def test_a_label_is_a_name_or_the_index_of_a_declared_label(make_task, value, label):
    assert make_task([row("x", value)]).rows("train")[0].label == label


@pytest.mark.parametrize(
    ("value", "label"), [(4, "positive"), ("4", "positive"), ("neg", "negative"), ("positive", "positive")]
)
def test_label_ids_map_values_to_labels(make_task, value, label):
    ids = {4: "positive", "neg": "negative"}
    assert make_task([row("x", value)], label_ids=ids).rows("train")[0].label == label


@pytest.mark.parametrize("value", [0, 1, "neutral", "Negative", "", 2.0, True])
def test_an_unknown_label_is_refused_with_its_row(make_task, value):
    task = make_task([row("x"), row("y", value)], label_ids={4: "positive"})
    where = "row 2 of the train split of made-up"
    with refused(TaskError, "unknown-name", kind="label", name=cell_text(value), where=where):
        task.rows("train")


def test_an_undeclared_label_in_label_ids_is_refused(make_task):
    with refused(TaskError, "undeclared-label", label="neutral"):
        make_task([row("x", 4)], label_ids={4: "neutral"}).rows("train")


@pytest.mark.parametrize("value", [-1, "-1"])
@pytest.mark.parametrize(("split", "suggested"), [("test", "validation"), ("validation", "train")])
def test_an_unpublished_label_is_refused_with_a_suggested_split(make_task, value, split, suggested):
    with refused(TaskError, "hidden-labels", task="made-up", split=split, suggested=suggested):
        make_task([row("x", value)], split=split).rows(split)


def test_label_ids_can_contain_minus_1(make_task):
    task = make_task([row("x", -1)], label_ids={-1: "negative", 1: "positive"})
    assert task.rows("train")[0].label == "negative"


def test_label_ids_apply_to_labels_that_are_numbers(make_task):
    """Stars from 1 to 3 that the data count from 0, as in Yelp reviews."""
    stars = {"1": "one star", "2": "two stars", "3": "three stars"}
    task = make_task([row("x", 0), row("y", 1), row("z", 2)], labels=stars, label_ids={0: "1", 1: "2", 2: "3"})
    assert [example.label for example in task.rows("train")] == ["1", "2", "3"]


def test_labels_that_are_numbers_are_names_and_not_indices(make_task):
    stars = {"1": "one star", "2": "two stars", "3": "three stars"}
    task = make_task([row("x", 1), row("y", "3")], labels=stars)
    assert [example.label for example in task.rows("train")] == ["1", "3"]
    with refused(TaskError, "unknown-name", kind="label", name="0"):
        make_task([row("x", 0)], labels=stars).rows("train")


# ---- columns and splits -----------------------------------------------------------------------------


def test_an_unknown_column_is_refused_with_similar_names(make_task):
    where = "row 1 of the train split of made-up"
    with refused(TaskError, "unknown-name", kind="column", name="txt", close=["text"], where=where):
        make_task([row("x")], inputs={"text": "txt"}).rows("train")


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("label", None, "empty-cell"),
        *((name, value, "not-text") for name in ("text", "label") for value in (["a"], {"a": "b"})),
    ],
)
def test_a_cell_without_text_is_refused_with_its_column_and_row(make_task, column, value, code):
    with refused(TaskError, code, column=column, where="row 2 of the train split of made-up"):
        make_task([row("x"), {**row("y"), column: value}]).rows("train")


def test_inputs_contain_exactly_the_template_variables(make_task):
    task = make_task([row("x", other="y")], inputs={"premise": "other", "hypothesis": "text"})
    assert task.rows("train")[0].inputs == {"premise": "y", "hypothesis": "x"}


def test_an_unknown_split_is_refused(make_task):
    with refused(TaskError, "unknown-name", kind="split", name="tset", task="made-up"):
        make_task([row("x")]).rows("tset")


def test_a_source_can_rename_splits(make_task):
    task = make_task([row("x")], split="dev_matched", splits={"validation": "dev_matched"})
    assert [example.inputs["text"] for example in task.rows("validation")] == ["x"]


# ---- finding tasks and data --------------------------------------------------------------------------


def test_a_mirror_is_given_as_argument_or_environment_variable(tmp_path, monkeypatch):
    (tmp_path / "sst2").mkdir()
    (tmp_path / "sst2" / "validation.jsonl").write_bytes(b'{"sentence": "fine", "label": 1}\n')
    from_argument = load_task("sst2", data=tmp_path)
    monkeypatch.setenv("PROMPTKIT_DATA", str(tmp_path))
    for task in (from_argument, load_task("sst2")):
        (example,) = task.rows("validation")
        assert (dict(example.inputs), example.label) == ({"text": "fine"}, "positive")
        assert task.identity()["source"]["mirror"] == "sst2"


def test_without_a_mirror_a_task_is_read_from_the_hub():
    assert load_task("sst2").identity()["source"]["hub"] == "stanfordnlp/sst2"


def test_a_task_with_bundled_files_needs_no_mirror(tmp_path):
    assert load_task("sentiment", data=tmp_path).identity() == load_task("sentiment").identity()


@pytest.mark.parametrize(("source", "code"), [({"mirror": "x"}, "needs-mirror"), ({"hub": "a/b"}, "needs-hub")])
def test_a_task_without_an_available_source_is_refused(tmp_path, source, code):
    spec = {"inputs": {"text": "text"}, "label": "label"} | source
    path = write(tmp_path, description="d", template="t", labels=LABELS, sources=[spec])
    with refused(TaskError, code, task=str(path)):
        load_task(path, data=tmp_path if "hub" in source else None)


def test_an_unknown_task_is_refused_with_similar_names():
    with refused(TaskError, "unknown-name", kind="task", name="sentimant") as error:
        load_task("sentimant")
    assert error.value.fields["close"][0] == "sentiment"


@pytest.mark.parametrize(
    ("name", "code", "field"),
    [
        ("missing.yaml", "no-such-file", "file"),
        ("", "unknown-name", "name"),
        (".", "is-a-folder", "file"),
        ("a\0b", "unknown-name", "name"),
    ],
)
def test_a_path_that_is_not_a_file_is_refused(name, code, field, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused(TaskError, code, **{field: name}):
        pk.task(name)


# ---- YAML -------------------------------------------------------------------------------------------

SPEC = {
    "description": "d",
    "template": "sentiment/review",
    "labels": LABELS,
    "sources": [{"files": {"test": "x.csv"}, "inputs": {"text": "text"}, "label": "label"}],
}


@pytest.mark.parametrize(
    ("changed", "code", "fields"),
    [
        ({**SPEC, "lables": {}}, "unknown-name", {"name": "lables", "place": "lables"}),
        (
            {**SPEC, "sources": [{**SPEC["sources"][0], "input": {}}]},
            "unknown-name",
            {"name": "input", "place": "sources[0].input"},
        ),
        ({**SPEC, "labels": {"one": "One"}}, "invalid-value", {"place": "labels"}),
        ({**SPEC, "labels": {"a": 1, "b": 2}}, "invalid-value", {"place": "labels.a", "value": "1"}),
        ({**SPEC, "labels": {"a": "a", True: "b"}}, "key-not-text", {"key": "True"}),
        ({**SPEC, "sources": []}, "invalid-value", {"place": "sources"}),
        ({**SPEC, "sources": [{**SPEC["sources"][0], "inputs": {}}]}, "invalid-value", {"place": "sources[0].inputs"}),
        ({**SPEC, "sources": [{**SPEC["sources"][0], "hub": "a/b"}]}, "ambiguous-source", {"place": "sources[0]"}),
        ({**SPEC, "sources": [{"inputs": {"text": "text"}, "label": "label"}]}, "ambiguous-source", {"place": "sources[0]"}),
        ({key: value for key, value in SPEC.items() if key != "template"}, "missing-key", {"place": "template"}),
        ({**SPEC, "sources": [{**SPEC["sources"][0], "inputs": {"labels": "x"}}]}, "reserved-variable", {"variable": "labels"}),
        ({**SPEC, "answer": "first_line"}, "ambiguous-task-kind", {"given": "labels and answer"}),
        (
            {**SPEC, "sources": [{**SPEC["sources"][0], "label": {"column": "label", "pattern": "("}}]},
            "invalid-pattern",
            {"place": "sources[0].label.pattern", "pattern": "("},
        ),
        ([], "not-a-mapping", {}),
        (None, "not-a-mapping", {}),
    ],
)
def test_an_invalid_task_file_is_refused_with_the_key(tmp_path, changed, code, fields):
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(changed), "utf-8")
    with refused(TaskError, code, file=str(path), **fields) as error:
        load_task(path)
    if code == "unknown-name":
        assert error.value.fields["close"][0] == {"lables": "labels", "input": "inputs"}[fields["name"]]


@pytest.mark.parametrize("content", [b"a: [", b"\xff", b"a: \0", b"a: !!python/object:os.system x", b"? [a]\n: b", b"\tx: y"])
def test_invalid_yaml_is_refused_with_the_file(tmp_path, content):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with refused(TaskError, "not-yaml", file=str(path)):
        load_task(path)


@pytest.mark.parametrize(
    "value", ["2001-99-99", "0x_", "1" * 5000, "2001-01-01 00:00:00+99:99", "!!int x", "!!float x", "!!bool x", "!!timestamp x"]
)
def test_a_malformed_yaml_scalar_is_refused(tmp_path, value):
    path = tmp_path / "odd.yaml"
    path.write_text(f"description: {value}\n", "utf-8")
    with pytest.raises(TaskError) as error:
        load_task(path)
    assert error.value.fields["file"] == str(path)


def test_deeply_nested_yaml_does_not_crash(tmp_path):
    path = tmp_path / "deep.yaml"
    path.write_text("[" * 1_000_000, "utf-8")
    code = (
        "from promptkit.core.errors import PromptkitError\nfrom promptkit.tasks.task_files import load_task\n"
        f"try: load_task({str(path)!r})\nexcept PromptkitError: print('refused')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "refused"


def nested_values(value):
    """Returns a value and all values inside it."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(nested for child in children for nested in nested_values(child))]


odd = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(nested_values(SPEC))
keys = st.sampled_from([*SPEC, *SPEC["sources"][0], "mirror", "hub", "split", "splits", "label_ids", "no such key"])
documents = st.recursive(
    odd,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys | odd.filter(lambda key: not isinstance(key, (dict, list))), inner, max_size=5)
    ),
    max_leaves=10,
)


@given(change=st.dictionaries(keys, documents, max_size=3), in_source=st.booleans())
def test_any_yaml_document_is_loaded_or_refused(tmp_path_factory, change, in_source):
    changed = {**SPEC, "sources": [{**SPEC["sources"][0], **change}]} if in_source else {**SPEC, **change}
    path = tmp_path_factory.mktemp("any", numbered=True) / "any.yaml"
    path.write_text(yaml.safe_dump(changed, allow_unicode=True), "utf-8")
    assert_loads_or_refuses(path)


@given(content=st.binary(max_size=60) | st.text("{}[]:,-#&*!|>'\"% \n\tab1.", max_size=60).map(str.encode))
def test_any_file_content_is_loaded_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any", numbered=True) / "any.yaml"
    path.write_bytes(content)
    assert_loads_or_refuses(path)


def assert_loads_or_refuses(path):
    with suppress(PromptkitError):
        assert len(load_task(path).labels) >= 2
