"""Options of the commands that are declared as fields of models."""

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from promptkit.cli.main import app
from promptkit.cli.options import Expand, expand_options
from promptkit.config.eval_options import EvalOptions
from promptkit.tasks.options import DataOptions
from promptkit.tasks.task_files import read_shipped_specs

COMMANDS = dict(typer.main.get_command(app).commands)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "task"])
def test_every_option_has_a_help_text_of_one_sentence(name: str) -> None:
    for parameter in COMMANDS[name].params:
        assert parameter.help.endswith(".")
        assert ". " not in parameter.help.replace("...", "")


@pytest.mark.parametrize("arguments", [[], ["task"], ["task", "init"], *([name] for name in COMMANDS)], ids=" ".join)
def test_help_fits_into_80_columns_without_truncated_sentences(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "80"}, prog_name="promptkit")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in result.output
    listed = lines[lines.index("Commands:") + 1 :] if "Commands:" in lines else []
    assert bool(listed) == (arguments in ([], ["task"]))
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)


@pytest.mark.parametrize("width", [80, 200])
def test_a_list_shows_all_texts_at_any_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = " ".join(CliRunner().invoke(app, ["tasks"]).output.split())
    for name, spec in read_shipped_specs().items():
        assert f" {name} " in shown
        assert spec.description in shown


def run(arguments: list[str], expand: Expand) -> tuple[int, list[EvalOptions]]:
    """Runs a command with the options of an evaluation; returns its exit code and the options that it received."""
    received: list[EvalOptions] = []

    @expand_options
    def command(prompt: Annotated[EvalOptions, expand], data: Annotated[DataOptions, Expand(only=())]) -> None:
        received.append(prompt)

    application = typer.Typer()
    application.command()(command)
    return CliRunner().invoke(application, ["sentiment", *arguments]).exit_code, received


def test_a_model_receives_the_values_of_its_options() -> None:
    code, (options,) = run(["--shots", "3", "--chat", "--prompt", "a", "--prompt", "b"], Expand())
    assert code == 0
    assert (options.shots, options.chat, options.prompt, options.seed) == (3, True, ["a", "b"], 0)


def test_a_command_can_change_defaults_and_leave_out_fields() -> None:
    code, (options,) = run([], Expand(without=("cot",), defaults={"shots": 5}))
    assert (code, options.shots, options.cot) == (0, 5, None)
    assert run(["--cot", "zero-shot"], Expand(without=("cot",))) == (2, [])
    assert run(["--seed", "1"], Expand(only=("shots",))) == (2, [])


def test_bounds_of_a_field_are_bounds_of_the_option() -> None:
    assert run(["--shots", "-1"], Expand()) == (2, [])
