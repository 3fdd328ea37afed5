"""Weights load in a background thread while prompts are rendered and baselines are fitted, and only if they are needed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.background import is_computing
from promptkit.core.errors import ModelError, TaskError
from promptkit.models.cache import ScoreCache
from promptkit.models.fake import FakeModel
from promptkit.models.hf.engine import TransformersModel
from tests.support import tiny
from tests.support.errors import refused
from tests.support.runs import Killed, contents

SECONDS = 120
"""How long a test waits for what must happen."""
LONG = 40
"""The first number of the rows whose prompts do not fit."""
WORDS = pk.Verbalizer({"no": "bad", "yes": "good"})


class Loading(FakeModel):
    """A fake model that notes which threads load it, and waits in `load` for what a test says."""

    capabilities = replace(FakeModel.capabilities, background_loading=True)

    def __init__(self, until: Callable[[], object] = lambda: None, *, batches: int = 10**9, **settings: Any) -> None:
        super().__init__("fake", FakeModel.Settings(**{"batch_tokens": 600, **settings}))
        self._until, self._batches = until, batches
        self.threads: list[str] = []

    def load(self) -> None:
        if not self.threads:
            self.threads.append(threading.current_thread().name)
            self._until()

    def answer(self, *arguments: Any) -> Any:
        for number, batch in enumerate(super().answer(*arguments)):
            if number == self._batches:
                raise Killed
            yield batch

    @property
    def loaded_in(self) -> str:
        """`background`, `main` or nothing."""
        return ",".join(
            "main" if name == "MainThread" else name.split("_")[0].removeprefix("promptkit-") for name in self.threads
        )


@pytest.fixture
def task(tmp_path: Path) -> pk.Task:
    tiny.save_reviews(tmp_path, 60, hold_out=0.5)
    return pk.task(tmp_path / "task.yaml")


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + SECONDS
    while is_computing() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("promptkit")]


def predictor(model: Any, *, shots: int = 2, demos: Any = None, **prompt: Any) -> pk.Predictor:
    return pk.Predictor(model, pk.Prompt("sentiment/review", demos=demos or pk.demos.Random(k=shots), **prompt), WORDS)


def run(model: Any, task: pk.Task, out: Path, *, cache: bool = False, demos: Any = None, **prompt: Any) -> pk.Run:
    return pk.evaluate(predictor(model, demos=demos, **prompt), task, out=out, cache=cache, progress=False)


def waiting(event: Event) -> Callable[[], None]:
    def wait() -> None:
        assert event.wait(SECONDS), "it did not happen while the weights were loading"

    return wait


def test_prompts_are_rendered_and_baselines_fitted_while_weights_load(tmp_path: Path, task: pk.Task) -> None:
    def until() -> None:
        deadline = time.monotonic() + SECONDS
        while not [*(tmp_path / "runs").glob("*/baselines.json")]:
            assert time.monotonic() < deadline, "the baselines were not fitted while the weights were loading"
            time.sleep(0.01)

    model = Loading(until)
    made = run(model, task, tmp_path / "runs")
    assert model.loaded_in == "background"
    assert made.baselines is not None
    assert contents(made) == contents(run(Loading(), task, tmp_path / "again"))


def test_a_run_without_baselines_fits_none(tmp_path: Path, task: pk.Task) -> None:
    made = pk.evaluate(predictor(Loading()), task, out=tmp_path / "runs", cache=False, baselines=False)
    assert not [*made.path.glob("baselines*")]


def test_nothing_loads_for_a_finished_run(tmp_path: Path, task: pk.Task) -> None:
    run(Loading(), task, tmp_path / "runs")
    again = Loading()
    assert run(again, task, tmp_path / "runs").resumed
    assert again.loaded_in == ""


def test_nothing_loads_if_all_answers_are_known(tmp_path: Path, task: pk.Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTKIT_SCORES", str(tmp_path / "scores.sqlite"))
    first, again = Loading(), Loading()
    made = run(first, task, tmp_path / "runs", cache=True)
    assert contents(run(again, task, tmp_path / "again", cache=True)) == contents(made)
    assert (first.loaded_in, again.loaded_in) == ("background", "")


def test_nothing_loads_before_it_is_known_that_it_is_needed(
    tmp_path: Path, task: pk.Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first prompt is known, and another one is not: the weights load when all prompts are rendered."""
    monkeypatch.setenv("PROMPTKIT_SCORES", str(tmp_path / "scores.sqlite"))
    with pytest.raises(Killed):
        run(Loading(batches=1), task, tmp_path / "runs", cache=True)
    rows, cache, stored = task.rows("test"), ScoreCache(), Loading()
    requests = predictor(stored).bind(task).requests([row.unlabeled() for row in rows])
    known = cache.find(stored.identity(), requests)
    assert 0 < len(known) < len(rows)
    model = Loading()
    made = run(model, task, tmp_path / "again", cache=True)
    assert model.loaded_in == ("main" if 0 in known else "background")
    assert contents(made) == contents(run(Loading(), task, tmp_path / "full"))


def test_an_interrupted_run_is_continued_with_weights_in_the_background(tmp_path: Path, task: pk.Task) -> None:
    with pytest.raises(Killed):
        run(Loading(batches=2), task, tmp_path / "runs")
    model = Loading()
    made = run(model, task, tmp_path / "runs")
    assert 0 < made.resumed < len(made.ids)
    assert model.loaded_in == "background"
    assert contents(made) == contents(run(Loading(), task, tmp_path / "again"))


def fail() -> None:
    raise ModelError("The weights are damaged", code="wrong-weights", hint="Copy them again")


def test_a_failed_load_is_the_same_error(tmp_path: Path, task: pk.Task) -> None:
    with refused(ModelError, "wrong-weights"):
        run(Loading(fail), task, tmp_path / "runs")
    assert run(Loading(), task, tmp_path / "runs").resumed == 0


@pytest.fixture
def long_task(tmp_path: Path) -> pk.Task:
    """A task with rows whose prompts do not fit a context of 600 tokens; the first row is not one of them."""
    tiny.save_reviews(tmp_path, 60, hold_out=0.5, text=lambda i: "liked it " * (100 if i >= LONG else 1) + str(i))
    task = pk.task(tmp_path / "task.yaml")
    lengths = [len(str(row.inputs["text"])) for row in task.rows("test")]
    assert lengths[0] < 20 < max(lengths)
    return task


def test_an_error_does_not_wait_for_weights(tmp_path: Path, long_task: pk.Task) -> None:
    loading, end = Event(), Event()

    def until() -> None:
        loading.set()
        waiting(end)()

    with refused(TaskError, "prompt-too-long"):
        run(Loading(until, context_length=600), long_task, tmp_path / "runs", demos=pk.demos.Zero())
    assert loading.wait(SECONDS)
    assert is_computing()
    end.set()


@pytest.mark.parametrize("demos", [pk.demos.Similar(k=2, encoder="fake"), pk.demos.MDL(k=2)], ids=lambda demos: demos.name)
def test_weights_load_in_the_main_thread_if_prompts_need_models(tmp_path: Path, task: pk.Task, demos: Any) -> None:
    model = Loading()
    made = run(model, task, tmp_path / "runs", demos=demos)
    assert model.loaded_in == "main"
    plain = run(pk.load("fake", batch_tokens=600), task, tmp_path / "again", demos=demos)
    assert contents(made) == contents(plain)


def test_engines_that_need_the_main_thread_load_in_it(tmp_path: Path, task: pk.Task) -> None:
    model = Loading()
    model.capabilities = replace(model.capabilities, background_loading=False)
    run(model, task, tmp_path / "runs")
    assert model.loaded_in == "main"


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_a_model_of_transformers_gives_the_same_run(
    tmp_path: Path, task: pk.Task, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    folder = tiny.save(tmp_path / "model", kind)
    loaded: list[str] = []
    load = TransformersModel.load

    def noted(model: Any) -> None:
        loaded.append(threading.current_thread().name)
        load(model)

    monkeypatch.setattr(TransformersModel, "load", noted)
    early = run(pk.load(str(folder)), task, tmp_path / "early")
    monkeypatch.setattr("promptkit.evaluation.evaluate.can_load_early", lambda plan: False)
    late = run(pk.load(str(folder)), task, tmp_path / "late")
    assert [name == "MainThread" for name in loaded] == [False, True]
    assert contents(early) == contents(late)


PROGRAM = """
import sys, time
from dataclasses import replace
from threading import Event
from promptkit.models.fake import FakeModel
from promptkit.models.registry import register
from promptkit.runs.executor import InProcess

loading, start = Event(), InProcess.start_loading

def start_and_wait(executor):
    start(executor)
    loading.wait(100)

InProcess.start_loading = start_and_wait

@register
class Slow(FakeModel):
    "Loads for minutes."
    engine, names = "slow", "any word"
    capabilities = replace(FakeModel.capabilities, background_loading=True)

    def load(self):
        print("loading", flush=True)
        loading.set()
        time.sleep(300)

from promptkit.cli.main import run
sys.argv = ["promptkit", *sys.argv[1:]]
run()
"""


def command(folder: Path, *options: str) -> subprocess.Popen[str]:
    words = ["eval", "task.yaml", "--model", "slow:x", "--shots", "0", "--no-cache", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *words], cwd=folder, text=True, **pipes)  # type: ignore[call-overload,no-any-return]


def test_an_interrupt_ends_the_command_while_weights_load(tmp_path: Path, task: pk.Task) -> None:
    with command(tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "Interrupted" in err


def test_an_error_ends_the_command_while_weights_load(tmp_path: Path, long_task: pk.Task) -> None:
    with command(tmp_path, "--set", "context_length=600") as process:
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (1, "loading\n")
    assert err.startswith("promptkit: ")
