"""Every command of table.yaml fails with one paragraph on standard error and no other output.

The table gives the type and code of each error, and values that the message contains. The full messages are in messages.txt,
for review; `make messages` writes that file.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from promptkit.cli import main as cli
from promptkit.core.errors import PromptkitError
from tests.refusals.folder import FILES, Given
from tests.refusals.hints import python_words, repeated_options, unusable_options
from tests.support.tiny import save

TABLE: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("table.yaml").read_text("utf-8"))
MESSAGES = Path(__file__).with_name("messages.txt")
MOST_WORDS = 100
USAGE = "usage"
"""The `type` of usage errors, which have exit code 2."""


class Result(NamedTuple):
    code: int
    out: str
    err: str
    error: Exception | None


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets.config
    import huggingface_hub.constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.delenv("PROMPTKIT_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("tiny") / "model", "llama")


@pytest.fixture
def run_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command in the folder with the files, and returns its exit code, output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROMPTKIT_CACHE", str(tmp_path / "cache"))
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, "utf-8")

    raised: list[Exception] = []
    original_app = cli.app

    def app() -> None:
        try:
            original_app()
        except (PromptkitError, OSError) as error:
            raised.append(error)
            raise

    monkeypatch.setattr(cli, "app", app)

    def run(command: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["promptkit", *shlex.split(command)])
        raised.clear()
        code = 0
        try:
            cli.main()
        except SystemExit as exit_error:
            code = int(exit_error.code or 0)
        return Result(code, *capsys.readouterr(), raised[0] if raised else None)

    return run


@pytest.fixture
def given(
    tmp_path: Path, run_command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tiny: Path
) -> Iterator[Callable[[dict[str, Any]], Given]]:
    setups = Given(tmp_path, run_command, monkeypatch, tiny)

    def prepare(entry: dict[str, Any]) -> Given:
        for name, content in entry.get("files", {}).items():
            (tmp_path / name).write_text(content, "utf-8")
        if "given" in entry:
            getattr(setups, entry["given"].replace(" ", "_").replace("-", "_"))()
        return setups

    yield prepare
    if setups.lock is not None:
        setups.lock.release()


def run_entry(entry: dict[str, Any], given: Any, run_command: Any, folder: Path) -> Result:
    """Runs an entry's command; parts of the message that differ between machines become placeholders."""
    prepared = given(entry)
    result: Result = run_command(entry["run"].replace("RUN", str(prepared.run)))
    err = result.err.replace(str(folder), "TMP").replace(str(prepared.run), "RUN")
    return result._replace(err=re.sub(r"(runs/labels)-[0-9a-f]{8}", r"\1-HASH", err))


def error_of(result: Result) -> tuple[str, str]:
    """Parses the type and code of the error."""
    if result.error is None:
        return (USAGE if result.code == 2 else "", "")
    return type(result.error).__name__, result.error.code if isinstance(result.error, PromptkitError) else ""


def check(entry: dict[str, Any], result: Result) -> None:
    """Asserts the type and code of the error, that the message contains the values, and that its advice is for this command."""
    assert error_of(result) == (entry["type"], entry.get("error", ""))
    message = result.err.splitlines()[-1]
    assert not [value for value in entry["names"] if value not in message], message
    if entry["type"] != USAGE:
        assert not unusable_options(entry["run"], message), message
        assert not repeated_options(entry["run"], message), message
        assert not python_words(message), message


@pytest.fixture(scope="module")
def messages(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The expected messages by entry name; with --update-messages, they are replaced by those of this run."""
    update = request.config.getoption("--update-messages")
    text = "" if update else MESSAGES.read_text("utf-8").rstrip("\n")
    kept = {name: message for name, _, message in (entry.partition("\n    ") for entry in text.split("\n\n"))}
    yield kept
    if update:
        texts = (f"{entry['name']}\n    {kept[entry['name']]}" for entry in TABLE)
        MESSAGES.write_text("\n\n".join(texts) + "\n", "utf-8")


def test_options_of_other_commands_are_noticed() -> None:
    assert unusable_options("study grid.yaml", "promptkit: It fails. Use --shots 2.") == {"--shots"}
    assert not unusable_options("study grid.yaml", "promptkit: It fails. Use --out FOLDER, or promptkit eval TASK --shots 2.")
    assert not unusable_options("eval sst2", "promptkit: It fails. Use --shots 2.")


def test_options_that_the_command_has_are_noticed() -> None:
    message = "promptkit: It fails. Given: --shots 2. Use --shots 2, or add --chat."
    assert repeated_options("eval sst2 --shots 2 --chat", message) == {"--shots 2", "--chat"}
    assert not repeated_options("eval sst2 --shots 3", message)


def test_words_of_python_are_noticed() -> None:
    assert python_words('Use chat=True, or demos="random" in Python.')
    assert not python_words("Given: knn:per_class=4. Use --chat, or --set dtype=float32.")


def test_entries_of_the_table_have_distinct_names() -> None:
    assert len({entry["name"] for entry in TABLE}) == len(TABLE) >= 60


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry["name"])
def test_an_error_is_reported_in_one_paragraph(
    entry: dict[str, Any],
    given: Any,
    run_command: Any,
    tmp_path: Path,
    messages: dict[str, str],
    request: pytest.FixtureRequest,
) -> None:
    result = run_entry(entry, given, run_command, tmp_path)
    check(entry, result)
    assert (result.code, result.out) == (2 if entry["type"] == USAGE else 1, "")
    assert "Traceback" not in result.err
    *usage, message = result.err.splitlines()
    assert len(message.split()) <= MOST_WORDS
    assert entry["type"] == USAGE or not usage
    shown = f"promptkit {entry['run']}\n    {message}"
    if request.config.getoption("--update-messages"):
        messages[entry["name"]] = shown
    elif not entry.get("foreign"):
        assert messages[entry["name"]] == shown, "make messages"


@pytest.mark.parametrize(
    "entry",
    [entry for entry in TABLE if "--model fake " in entry["run"] + " " and not entry.get("late")],
    ids=lambda entry: entry["name"],
)
def test_errors_that_need_no_model_are_found_before_it_is_loaded(
    entry: dict[str, Any], given: Any, run_command: Any, tmp_path: Path
) -> None:
    result = run_entry(entry | {"run": entry["run"].replace("--model fake", "--model ./nowhere")}, given, run_command, tmp_path)
    assert result.code == 1
    check(entry, result)


def test_a_full_disk_keeps_the_existing_files(given: Any, run_command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original_open = Path.open
    setup = given({"given": "a full disk"})
    samples = setup.run / "samples.jsonl"
    before = samples.read_bytes()
    command = "eval labels.yaml --model fake --shots 2 --json"
    assert run_command(command).code == 1
    assert samples.read_bytes() == before
    monkeypatch.setattr(Path, "open", original_open)
    assert run_command(command).code == 0
    assert samples.read_bytes().startswith(before)


@pytest.mark.parametrize("changed", [{"logprobs": {"no": 1}}, {"logprobs": 3}, {"continuations": None}, {"tokens": 1}])
def test_a_damaged_line_of_samples_is_computed_again(given: Any, run_command: Any, changed: dict[str, Any]) -> None:
    path = given({}).a_run() / "samples.jsonl"
    content = path.read_bytes()
    line, *lines = content.decode().splitlines(keepends=True)
    path.write_text("".join([json.dumps({**json.loads(line), **changed}) + "\n", *lines]))
    (path.parent / "summary.json").unlink()
    assert run_command("eval labels.yaml --model fake --shots 2 --json").code == 0
    assert path.read_bytes() == content
