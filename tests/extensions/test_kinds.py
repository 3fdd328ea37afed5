"""A class of each kind is defined in one file of an installed package, and used from the command line, YAML and Python."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.analysis.realign import align
from promptkit.core.errors import Unsupported
from tests.extensions.conftest import Install, Package
from tests.models.vision.tiny import save_vit
from tests.support.errors import refused
from tests.support.image_files import squares, write_folder, write_task
from tests.support.runs import lines

BASE: Mapping[str, Any] = {"task": "sentiment", "model": "fake", "limit": 5}
WORDS = "sentiment --model fake --limit 5"


def plain(package: Package, **options: object) -> pk.Run:
    """A run without anything of the package."""
    return pk.EvalConfig.from_keywords(**{**BASE, **options}).run(out=package.out / "plain", cache=False)


def folder_in(command: str) -> Path:
    """The folder of the learned manipulation that a command uses."""
    words = shlex.split(command)
    return Path(words[words.index("--prompt") + 1])


def help_of(package: Package, command: str) -> str:
    return " ".join(package.command(command, "--help").split())


def test_a_selector(install: Install) -> None:
    package = install("longest", selectors="Longest")
    run = package.everywhere(
        f"{WORDS} --demos longest:k=3", {**BASE, "demos": {"longest": {"k": 3}}}, demos=package.module.Longest(k=3)
    )
    pool = sorted(pk.task("sentiment").part("pool"), key=lambda row: (-len(str(row.inputs)), row.id))
    assert {tuple(record["demos"]) for record in lines(run)} == {tuple(row.id for row in pool[:3])}
    assert "longest" in help_of(package, "eval")
    assert "--demos longest:k=3" in str(align(run.path).command)


def test_an_order(install: Install) -> None:
    package = install("backwards", orders="Backwards")
    options = {**BASE, "demos": "random:k=3", "order": "backwards"}
    run = package.everywhere(f"{WORDS} --demos random:k=3 --order backwards", options, order=package.module.Backwards())
    kept = plain(package, demos="random:k=3")
    assert [record["demos"] for record in lines(run)] == [record["demos"][::-1] for record in lines(kept)]


def test_a_chain_of_thought(install: Install) -> None:
    package = install("restate", chains_of_thought="Restate")
    options = {**BASE, "shots": 0, "cot": {"restate": {"words": 3}}}
    run = package.everywhere(f"{WORDS} --shots 0 --cot restate:words=3", options, cot=package.module.Restate(words=3))
    texts = {row.id: row.texts["text"] for row in pk.task("sentiment").rows("test")}
    for record in lines(run):
        assert record["reasoning"] == f" It says {' '.join(texts[record['id']].split()[:3])}, so the answer is"


def test_an_extraction(install: Install) -> None:
    package = install("last_word", extractions="LastWord")
    options = {"task": "arithmetic", "model": "fake", "shots": 0, "limit": 4, "max_tokens": 8}
    run = package.everywhere(
        "arithmetic --model fake --shots 0 --limit 4 --max-tokens 8 --extract last_word:lower=true",
        {**options, "extract": {"last_word": {"lower": True}}},
        extract="last_word:lower=true",
    )
    for record in lines(run):
        (text,) = record["generations"]
        assert text["answer"] == (text["text"].lower().split() or [None])[-1]


def test_an_extraction_of_a_task_file(install: Install, tmp_path: Path) -> None:
    package = install("last_word", extractions="LastWord")
    for split in ("train", "test"):
        rows = ({"question": f"What is {split} {i}?", "answer": f"{i}"} for i in range(20))
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"files": {"train": "train.jsonl", "test": "test.jsonl"}, "inputs": {"question": "question"}, "label": "answer"}
    spec = {"description": "d", "template": "arithmetic/direct", "answer": {"last_word": {"max_tokens": 6}}}
    (tmp_path / "task.yaml").write_text(json.dumps({**spec, "sources": [source]}))
    words = ("eval", str(tmp_path / "task.yaml"), "--model", "fake", "--shots", "1", "--limit", "3")
    printed = package.json(*words, "--out", str(package.out))
    assert [result["align"] for result in printed["results"]] == ["last_word"]
    config = pk.EvalConfig(task=str(tmp_path / "task.yaml"), model="fake", shots=1, limit=3)
    assert str(config.run(out=package.out).path) == printed["run"]


def test_a_first_aligner(install: Install) -> None:
    """Its runs are read by commands that know only its name."""
    package = install("first_tokens", first_aligners="FirstTokens")
    words = dict(pk.task("sentiment").spec.labels or {})
    predictors = [pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), package.module.FirstTokens(words))]
    run = pk.evaluate(predictors, pk.task("sentiment"), limit=12, out=package.out, cache=False)
    assert [result.align for result in run.results] == ["first-tokens"]
    aligned = package.json("align", str(run.path), "--calibrate", "batch:estimate_on=test")
    assert [result["align"] for result in aligned["results"]] == ["first-tokens", "batch:estimate_on=test"]


@pytest.mark.parametrize(
    ("plugin", "group", "name", "spelled"),
    [
        ("sharpen", "calibrations", "Sharpen", {"power": -1.0}),
        ("manhattan", "probes", "Manhattan", {"per_class": 4}),
        ("alphabetical", "label_maps", "Alphabetical", {"per_class": 4}),
        ("mirrored", "calibrations", "Mirrored", {"weight": 0.25}),
    ],
)
def test_a_calibration_probe_label_map_or_need(
    install: Install, plugin: str, group: str, name: str, spelled: Mapping[str, float]
) -> None:
    package = install(plugin, **{group: name})
    ((keyword, value),) = spelled.items()
    option = "labelmap" if group == "label_maps" else "calibrate"
    calibration = getattr(package.module, name)(**spelled)
    run = package.everywhere(
        f"{WORDS} --shots 0 --{option} {plugin}:{keyword}={value}",
        {**BASE, "shots": 0, option: [{plugin: dict(spelled)}]},
        **{option: [calibration]},
    )
    before, after = run.results
    assert after.align == f"{plugin}:{keyword}={value}"
    assert before.logprobs.tolist() != after.logprobs.tolist()
    if plugin == "sharpen":
        assert after.logprobs.tolist() == (-before.logprobs).tolist()
    again = align(run.path, after.align).results[1]
    np.testing.assert_array_equal(again.logprobs, after.logprobs)


def test_a_need_says_what_a_run_lacks(install: Install) -> None:
    package = install("mirrored", calibrations="Mirrored")
    printed = package.json("align", str(plain(package, shots=0).path), "--calibrate", "mirrored")
    (unavailable,) = printed["unavailable"]
    assert unavailable["code"] == "missing-reversed"


def test_a_metric(install: Install) -> None:
    package = install("surprisal", metrics="Surprisal")
    run = package.everywhere(f"{WORDS} --shots 0", {**BASE, "shots": 0})
    assert list(run.results[0].metrics) == ["accuracy", "macro_f1", "ece", "brier", "surprisal"]
    shown = package.command("compare", str(run.path), str(plain(package, shots=1, model="fake:b").path))
    assert "surprisal" in shown.split()


def test_a_metric_that_is_a_function_or_is_in_a_file(install: Install) -> None:
    package = install("starts_alike", metrics="starts_alike")
    by_name = package.everywhere(f"{WORDS} --shots 0 --metric starts_alike", {**BASE, "shots": 0, "metric": ["starts_alike"]})
    assert next(iter(by_name.results[0].metrics)) == "starts_alike"
    file = f"{Path(__file__).parent / 'plugins' / 'starts_alike.py'}:same_length"
    by_file = package.everywhere(f"{WORDS} --shots 0 --metric {file}", {**BASE, "shots": 0, "metric": [file]})
    assert by_file.path.name == by_name.path.name
    rows = [*zip(by_file.results[0].predictions, by_file.gold, strict=True)]
    for run, name, value in (
        (by_name, "starts_alike", lambda text, gold: text[0] == gold[0]),
        (by_file, "same_length", lambda text, gold: len(text) == len(gold)),
    ):
        expected = np.mean([value(text, gold) for text, gold in rows])
        assert run.results[0].metrics[name]["value"] == pytest.approx(expected, abs=1e-6)
    other = plain(package, shots=1, model="fake:b")
    printed = package.json("compare", str(by_name.path), str(other.path), "--metric", file)
    assert next(iter(printed["branches"][1]["metrics"])) == "same_length"
    study = pk.StudyConfig(task="sentiment", model="fake", limit=5, metric=["starts_alike"], grid={"shots": [0, 1]})
    assert study.run(out=package.out / "study", cache=False).table().rows[0][0] == "starts_alike"


def test_a_fixed_manipulation_of_texts(install: Install) -> None:
    package = install("repeat", manipulations="Repeat")
    options = {**BASE, "shots": 0, "manipulation": {"repeat": {"times": 3}}}
    run = package.everywhere(
        f"{WORDS} --shots 0 --manipulation repeat:times=3", options, manipulation=[package.module.Repeat(times=3)]
    )
    kept = plain(package, shots=0)
    assert run.results[0].logprobs.tolist() != kept.results[0].logprobs.tolist()
    study = pk.StudyConfig(task="sentiment", model="fake", shots=0, limit=5, grid={"manipulation": [[], "repeat:times=3"]})
    cells = study.run(out=package.out / "study", cache=False).cells
    assert {cell.run.path.name for cell in cells} == {run.path.name, kept.path.name}
    (listed,) = [row for row in package.json("kinds")["kinds"] if row["name"] == "repeat"]
    assert listed == {
        "kind": "manipulation",
        "name": "repeat",
        "taxonomy": "fixed, input, concatenative",
        "description": (package.module.Repeat.__doc__ or "").partition("\n")[0],
    }


def test_a_learnable_manipulation_of_texts(install: Install) -> None:
    package = install("shared_vector", manipulations="SharedVector")
    words = (
        "train sentiment --model fake --manipulation shared-vector:times=2 --optimizer spsa --steps 2 --dev 6 --batch-size 4"
    )
    trained = package.json(*words.split(), "--no-cache", "--out", str(package.out / "command line"))
    options = {"optimizer": "spsa", "steps": 2, "dev": 6, "batch_size": 4}
    file = package.out / "train.yaml"
    manipulation = {"shared-vector": {"times": 2}}
    file.write_text(json.dumps({"task": "sentiment", "model": "fake", "manipulation": manipulation, **options}))
    by_file = pk.TrainConfig.from_yaml(file).run(out=package.out / "yaml", cache=False)
    task = pk.task("sentiment")
    predictor = pk.Predictor(
        pk.load("fake"),
        [pk.Prompt("sentiment/review", demos=pk.demos.Balanced(k=0)), package.module.SharedVector(times=2)],
        dict(task.spec.labels or {}),
    )
    by_hand = pk.train(predictor, task, out=package.out / "python", cache=False, **options)
    folders = [folder_in(trained["command"]), *by_file.saved, *by_hand.saved]
    parameters = [pk.load_manipulation(folder).parameters for folder in folders]
    assert {each["vector"].digest for each in parameters} == {parameters[0]["vector"].digest}
    evaluated = package.json(*shlex.split(trained["command"])[1:], "--limit", "3")
    assert evaluated["n"] == 3


def test_manipulations_of_images(install: Install, tmp_path: Path) -> None:
    """A fixed one and a learnable one, with operations that the engine does not have."""
    package = install("tone", manipulations="Posterize Brightness", operations="posterize brighten")
    model = f"vision:{save_vit(tmp_path / 'vit')}"
    write_folder(tmp_path / "images", *squares(60))
    task = str(write_task(tmp_path / "task.yaml", folder="images"))
    words = f"{task} --model {model} --limit 4 --per-class 2"
    base = {"task": task, "model": model, "limit": 4, "calibrate": "hidden", "per_class": 2}
    run = package.everywhere(
        f"{words} --calibrate hidden --manipulation posterize:levels=2",
        {**base, "manipulation": {"posterize": {"levels": 2}}},
        manipulation=[package.module.Posterize(levels=2)],
    )
    kept = pk.EvalConfig.from_keywords(**base).run(out=package.out / "plain", cache=False)
    assert run.results[0].logprobs.tolist() != kept.results[0].logprobs.tolist()
    options = {"task": task, "model": model, "labelmap": "full", "per_class": 4, "steps": 2, "batch_size": 4, "dev": 4}
    trained = pk.TrainConfig.from_keywords(**options, eval_every=1, manipulation="brightness").run(out=package.out)
    assert len({evaluation.loss for evaluation in trained.dev_evaluations}) == 3
    assert pk.load_manipulation(trained.saved[0]).parameters["offset"].shape == (3,)
    words = f"{words} --labelmap full --prompt {trained.saved[0]}"
    assert package.json("eval", *words.split(), "--out", str(package.out))["n"] == 4


def test_an_optimizer(install: Install) -> None:
    package = install("random_search", optimizers="RandomSearch")
    words = "train sentiment --model fake --manipulation soft:length=2 --optimizer random-search:width=0.5 --steps 3 --dev 6"
    trained = package.json(*words.split(), "--no-cache", "--out", str(package.out / "command line"))
    options = {"task": "sentiment", "model": "fake", "manipulation": {"soft": {"length": 2}}, "steps": 3, "dev": 6}
    file = package.out / "train.yaml"
    file.write_text(json.dumps({**options, "optimizer": {"random-search": {"width": 0.5}}}))
    search = package.module.RandomSearch(width=0.5)
    results = [
        pk.TrainConfig.from_yaml(file).run(out=package.out / "yaml", cache=False),
        pk.TrainConfig.from_keywords(**options, optimizer=search).run(out=package.out / "python", cache=False),
    ]
    folders = [folder_in(trained["command"]), *(result.saved[0] for result in results)]
    assert len({pk.load_manipulation(folder).parameters["vectors"].digest for folder in folders}) == 1
    assert "random-search" in help_of(package, "train")


def test_an_engine(install: Install) -> None:
    package = install("letters", engines="LettersModel")
    options = {"task": "sentiment", "model": "letters:x", "set": {"smoothing": 0.5}, "shots": 0, "limit": 5}
    run = package.everywhere("sentiment --model letters:x --set smoothing=0.5 --shots 0 --limit 5", options)
    model = pk.load("letters:x", smoothing=0.5)
    assert isinstance(model, package.module.LettersModel)
    assert {sum(logprobs) < 0 for logprobs in run.results[0].logprobs.tolist()} == {True}
    (listed,) = [row for row in package.json("models")["engines"] if row["name"] == "letters"]
    assert listed["supports"] == ["text", "Score"]
    assert "--model letters:x" in str(align(run.path).command)
    assert "--set smoothing=0.5" in str(align(run.path).command)
    with refused(Unsupported, "cannot-generate", model="letters:x"):
        pk.EvalConfig.from_keywords(**{**options, "task": "arithmetic"}).run(out=package.out)
