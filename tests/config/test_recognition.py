"""A finished run is read without the model if nothing that determines it has changed, and only then."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import promptkit as pk
from promptkit.config.recognition import KEYS
from promptkit.core.errors import RunError
from promptkit.evaluation import evaluate as evaluation
from tests.support import tiny
from tests.support.errors import refused
from tests.support.heavy_packages import modules_after
from tests.support.runs import contents

TEMPLATE = "{% block input %}Review: {{ text }}\nSentiment:{% endblock %}{% block target %} {{ label }}{% endblock %}\n"
OPTIONS = {"shots": 2, "calibrate": ["contextual", "batch"]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task in the current folder."""
    monkeypatch.chdir(tmp_path)
    tiny.save_reviews(tmp_path, 60)
    return tmp_path


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One item for each evaluation by the model."""
    made: list[str] = []
    original = evaluation.evaluate

    def evaluate(*given: object, **keywords: object) -> object:
        made.append("evaluated")
        return original(*given, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    return made


def run(**options: object) -> pk.Run:
    values = {"task": "task.yaml", "model": "fake", **OPTIONS, **options}
    return pk.EvalConfig(**values).run()


def as_json(made: pk.Run) -> dict[str, object]:
    timing = ("seconds", "examples_per_second", "resumed")
    return {name: value for name, value in made.to_json().items() if name not in timing}


def test_a_finished_run_is_read_without_the_model(folder: Path, evaluations: list[str]) -> None:
    first = run()
    again = run()
    assert evaluations == ["evaluated"]
    assert as_json(again) == as_json(first)
    assert (again.path, again.resumed, again.examples_per_second) == (first.path, len(first.ids), 0)
    assert str(again) == str(first)


def test_a_moved_folder_of_runs_is_recognized(folder: Path, evaluations: list[str]) -> None:
    first = run()
    first.path.parent.rename(folder / "moved")
    again = pk.EvalConfig(task="task.yaml", model="fake", **OPTIONS).run(out="moved")
    assert evaluations == ["evaluated"]
    assert as_json(again) == {**as_json(first), "run": str(Path("moved", first.path.name))}


def test_baselines_can_be_added_and_left_out(folder: Path, evaluations: list[str]) -> None:
    assert run(baselines=False).baselines is None
    assert run().baselines is not None
    assert run(baselines=False).baselines is None
    assert evaluations == ["evaluated"]


def _edit(file: str, before: str, after: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / file).read_text()
        assert before in text
        (folder / file).write_text(text.replace(before, after, 1))

    return change


def _declare(**fields: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "task.yaml").write_text(yaml.safe_dump({**yaml.safe_load((folder / "task.yaml").read_text()), **fields}))

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_edit("rows.jsonl", "liked it 10", "liked it ten"), id="text"),
        pytest.param(_edit("rows.jsonl", '0", "label": "yes"', '0", "label": "no"'), id="label"),
        pytest.param(_edit("rows.jsonl", "\n", '\n{"text": "another", "label": "no"}\n'), id="row"),
        pytest.param(_edit("task.yaml", "bad", "poor"), id="word of a label"),
        pytest.param(_edit("task.yaml", "0.8", "0.7"), id="division"),
        pytest.param(_declare(description="another"), id="task file"),
        pytest.param(_edit("mine.j2", "Review", "Text"), id="template"),
        pytest.param(_edit("mine.j2", "Review", "Review "), id="white space of the template"),
    ],
)
def test_a_changed_file_is_evaluated(folder: Path, evaluations: list[str], change: Callable[[Path], None]) -> None:
    (folder / "mine.j2").write_text(TEMPLATE)
    first = run(template="mine.j2")
    change(folder)
    again = run(template="mine.j2")
    assert evaluations == ["evaluated"] * 2
    assert run(template="mine.j2").path == again.path
    assert evaluations == ["evaluated"] * 2
    assert (again.path / "run.json").read_bytes() == (first.path / "run.json").read_bytes() or again.path != first.path


@pytest.mark.parametrize(
    "options",
    [
        {"shots": 3},
        {"seed": 1},
        {"limit": 5},
        {"folds": 2},
        {"calibrate": ["contextual"]},
        {"calibrate": ["contextual", "batch:estimate_on=test"]},
        {"score": "mean"},
        {"model": "fake:other"},
        {"set": {"batch_tokens": 64}},
        {"demos": "bm25"},
        {"split": "train"},
        {"split_train": "pool=0.5,fit=0.5"},
    ],
    ids=str,
)
def test_other_options_are_evaluated(folder: Path, evaluations: list[str], options: dict[str, object]) -> None:
    first = run()
    try:
        other = run(**options)
    except pk.PromptkitError:
        assert options.keys() & {"split", "folds"}, "only these may not apply to the task"
        return
    assert evaluations == ["evaluated"] * 2
    assert other.path != first.path or options.keys() == {"seed"}


def test_another_version_is_evaluated(folder: Path, evaluations: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = run()
    for module in ("evaluation.identity", "models.content"):
        monkeypatch.setattr(f"promptkit.{module}.__version__", "9.9")
    assert run().path != first.path
    assert evaluations == ["evaluated"] * 2


def test_other_packages_and_devices_are_evaluated(
    folder: Path, evaluations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    run()
    monkeypatch.setattr("promptkit.models.content.version", lambda package: "9.9")
    run()
    assert evaluations == ["evaluated"] * 3


@pytest.fixture
def model(folder: Path) -> Path:
    """The folder of a tiny model."""
    return tiny.save(folder / "model", "llama")


def test_other_weights_are_evaluated(folder: Path, evaluations: list[str], model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    first = run(model="./model", limit=4)
    assert as_json(run(model="./model", limit=4)) == as_json(first)
    assert evaluations == ["evaluated"]
    weights = AutoModelForCausalLM.from_pretrained(model)
    with torch.no_grad():
        weights.get_output_embeddings().weight[3] += 1
    weights.save_pretrained(model)
    assert run(model="./model", limit=4).path != first.path
    assert evaluations == ["evaluated"] * 2


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_other_files_of_the_model_are_evaluated(folder: Path, evaluations: list[str], model: Path, file: str) -> None:
    first = run(model="./model", limit=4)
    (model / file).write_text((model / file).read_text() + "\n")
    assert run(model="./model", limit=4).path != first.path
    assert evaluations == ["evaluated"] * 2


def test_another_learned_prompt_is_evaluated(folder: Path, evaluations: list[str], model: Path) -> None:
    task = pk.task("task.yaml")
    words = pk.Verbalizer({"no": "bad", "yes": "good"})
    runs = []
    for seed in (0, 1):
        predictor = pk.Predictor(pk.load("./model"), [pk.Prompt("sentiment/review"), pk.SoftPrompt(2)], words)
        fit = pk.train(predictor, task, out=folder / f"prompt{seed}", seed=seed, steps=1, batch_size=2, dev=2, cache=False)
        (folder / "prompt").unlink(missing_ok=True)
        (folder / "prompt").symlink_to(Path(fit.path).resolve())
        runs += [run(model="./model", prompt=["prompt"], limit=4, shots=0, calibrate=[]) for _ in range(2)]
    assert evaluations == ["evaluated"] * 2
    assert runs[0].path == runs[1].path != runs[2].path == runs[3].path


@pytest.mark.parametrize("file", ["samples.jsonl", "predictions.jsonl", "summary.json", "results.safetensors"])
def test_a_missing_file_is_computed_again(folder: Path, evaluations: list[str], file: str) -> None:
    before = contents(first := run())
    (first.path / file).unlink()
    again = run()
    assert evaluations == ["evaluated"] * 2
    assert contents(again) == before


@pytest.mark.parametrize("file", ["samples.jsonl", "predictions.jsonl", "results.safetensors"])
def test_a_changed_file_of_the_run_is_refused(folder: Path, evaluations: list[str], file: str) -> None:
    first = run()
    with (first.path / file).open("ab") as stream:
        stream.write(b"\n")
    with refused(RunError, "changed-file"):
        run()


@pytest.mark.parametrize("content", ["", "{}", "[", "[1, null]", '"text"'])
def test_damaged_keys_are_replaced(folder: Path, evaluations: list[str], content: str) -> None:
    first = run()
    (first.path / KEYS).write_text(content)
    run()
    run()
    assert evaluations == ["evaluated"] * 2


def test_several_configurations_of_one_run_are_recognized(folder: Path, evaluations: list[str]) -> None:
    (folder / "copy.yaml").write_text((folder / "task.yaml").read_text())
    runs = [run(**options) for _ in range(2) for options in ({}, {"set": {"batch_tokens": 4096}})]
    assert len({made.path for made in runs}) == 1
    assert evaluations == ["evaluated"] * 2


def test_commands_that_read_runs_import_neither_torch_nor_transformers(folder: Path, model: Path) -> None:
    command = [
        "eval",
        "task.yaml",
        "--model",
        "./model",
        "--shots",
        "2",
        "--calibrate",
        "contextual,batch,linear",
        "--limit",
        "6",
    ]
    assert {"torch", "transformers"} <= {*modules_after(*command)}
    assert modules_after(*command) == []
    assert modules_after(*command, "--json") == []
    (made,) = Path("runs").iterdir()
    assert modules_after("compare", made, f"{made}:batch") == []
    assert {*modules_after("align", made, "--calibrate", "contextual,batch")} <= {"scipy"}
    assert modules_after("bias", made) == []
