"""Progress is shown on standard error: lines every 30 seconds without a terminal, and nothing where that is asked for."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.display import progress as shown
from promptkit.display.progress import Bar, reporting
from promptkit.predictor import in_chunks


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_is_written_every_30_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    bar = Bar(clock=clock)
    bar(10, 340)
    for second in range(1, 95):
        clock.now = 100 + second
        bar(10 + 2 * second, 340)
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines() == [
        "70/340 rows, 2 rows/s, 2 min 15 s left",
        "130/340 rows, 2 rows/s, 1 min 45 s left",
        "190/340 rows, 2 rows/s, 1 min 15 s left",
    ]


@pytest.mark.parametrize(("done", "left"), [(30, "5 h 32 min left"), (19_990, "0 s left")])
def test_the_remaining_time_is_rounded(capsys: pytest.CaptureFixture[str], done: int, left: str) -> None:
    clock = Clock()
    bar = Bar(clock=clock, unit="step")
    bar(0, 20_000)
    clock.now += 30
    bar(done, 20_000, "loss 0.5")
    assert capsys.readouterr().err.endswith(f"steps/s, {left}, loss 0.5\n")


def test_nothing_is_estimated_before_anything_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    bar = Bar(clock=clock)
    bar(0, 5)
    clock.now += 40
    bar(0, 5)
    assert capsys.readouterr().err == "0/5 rows, 0 rows/s\n"


def test_a_hidden_bar_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Bar(hidden=True, clock=clock) as bar:
        bar(0, 5)
        clock.now += 90
        bar(3, 5)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("attached", ["terminal", "notebook"])
def test_a_terminal_and_a_notebook_have_a_bar(monkeypatch: pytest.MonkeyPatch, attached: str) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: attached == "terminal", raising=False)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(shown, "in_notebook", lambda: attached == "notebook")
    monkeypatch.setattr(shown, "DELAY", 0)
    with Bar() as bar:
        bar(0, 4)
        bar(4, 4)
    assert "4/4" in stream.getvalue()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are written at every update."""
    monkeypatch.setattr(shown, "INTERVAL", 0.0)


def evaluate(tmp_path: Path, **options: object) -> object:
    return pk.EvalConfig(task="sentiment", model="fake", shots=0, limit=6).run(out=tmp_path, cache=False, **options)  # type: ignore[arg-type]


def study(tmp_path: Path, **options: object) -> object:
    config = pk.StudyConfig(task="sentiment", model="fake", limit=6, grid={"shots": [0, 1]})
    return config.run(out=tmp_path, cache=False, **options)  # type: ignore[arg-type]


def train(tmp_path: Path, **options: object) -> object:
    config = pk.TrainConfig(task="sentiment", model="fake", manipulation=["soft:length=2"], optimizer="spsa", steps=2, dev=4)
    return config.run(out=tmp_path, cache=False, **options)  # type: ignore[arg-type]


def predict(tmp_path: Path, **options: object) -> object:
    labels = {"negative": "Negative", "positive": "Positive"}
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), labels)
    return predictor.predict([f"text {number}" for number in range(6)], **options)  # type: ignore[arg-type]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("command", "unit"), [(evaluate, "rows"), (study, "runs"), (train, "steps"), (predict, "rows")])
def test_progress_in_python(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: Callable[..., object], unit: str
) -> None:
    calls: list[tuple[int, int]] = []
    command(tmp_path / "shown")
    out, err = capsys.readouterr()
    assert not out
    assert f"{unit}/s" in err
    command(tmp_path / "hidden", progress=False)
    command(tmp_path / "called", progress=lambda done, total: calls.append((done, total)))
    out, err = capsys.readouterr()
    assert not out
    assert f"{unit}/s" not in err
    assert calls == sorted(calls)
    assert all(0 <= done <= total for done, total in calls)
    assert calls[-1][0] == calls[-1][1]


@pytest.mark.usefixtures("impatient")
def test_json_is_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    from promptkit.cli.main import app

    command = ["eval", "sentiment", "--model", "fake", "--shots", "0", "--limit", "6", "--no-cache", "--out", str(tmp_path)]
    app([*command, "--json"], standalone_mode=False)
    out, err = capsys.readouterr()
    assert json.loads(out)["n"] == 6
    assert "rows/s" not in err


def test_reporting_calls_what_it_is_given() -> None:
    calls: list[tuple[int, int]] = []
    with reporting(lambda done, total: calls.append((done, total))) as report:
        report(1, 2)
    assert calls == [(1, 2)]


def test_the_progress_of_tuning_is_that_of_its_rows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"text": f"{word} {number}", "label": word} for number in range(20) for word in ("good", "bad")]
    calls: list[tuple[int, int]] = []
    arguments: dict[str, Any] = {"model": "fake", "label": "label", "budget": "400 requests", "cache": False}
    pk.tune(rows, **arguments, out=tmp_path / "called", progress=lambda done, total: calls.append((done, total)))
    assert {total for _, total in calls} == {40}
    assert calls == sorted(calls)
    assert not caplog.messages
    pk.tune(rows, **arguments, out=tmp_path / "shown")
    assert any("of 40 rows" in message for message in caplog.messages)


def test_chunks_of_predictions_are_parts_of_all_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(in_chunks, "CHUNK", 4)
    calls: list[tuple[int, int]] = []
    predict(tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls == sorted(calls)
    assert {total for _, total in calls} == {6}
    assert {done for done, _ in calls} >= {4, 6}
