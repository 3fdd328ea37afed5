"""An error names the key of the YAML file whose value causes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.config.key_paths import name_key
from promptkit.core.errors import InputError
from promptkit.tasks.yaml_file import errors_at, key_path, leaves
from tests.support.errors import refused

FILE = Path("study.yaml")
KEYS = {"demos": "grid.demos[1]", "shots": "shots"}


def failing_with(*options: str, file: Path | None = FILE, default: str | None = None) -> None:
    """Fails unless one of the options is left out."""

    def build(without: str | None) -> None:
        if without not in options:
            raise InputError("It does not work", code="test")

    name_key(file, build, KEYS, default)


@pytest.mark.parametrize(
    ("options", "place"), [(("demos",), "grid.demos[1]"), (("shots",), "shots"), (("shots", "demos"), "grid.demos[1]")]
)
def test_the_key_is_the_one_without_which_the_error_does_not_occur(options: tuple[str, ...], place: str) -> None:
    with refused(InputError, "test", file="study.yaml", place=place) as error:
        failing_with(*options)
    assert str(error.value).startswith(f"study.yaml: {place} ")


def test_an_error_that_no_option_causes_names_the_default_key_or_none() -> None:
    with refused(InputError, "test", place="task"):
        failing_with(default="task")
    with refused(InputError, "test") as error:
        failing_with()
    assert "place" not in error.value.fields


def test_errors_of_options_without_a_file_and_errors_with_a_key_are_unchanged() -> None:
    with refused(InputError, "test") as error:
        failing_with("shots", file=None)
    assert "place" not in error.value.fields
    with (
        refused(InputError, "test", file="mine.yaml", place="labels"),
        errors_at(FILE, "task"),
        errors_at(Path("mine.yaml"), "labels"),
    ):
        raise InputError("It does not work", code="test")


def test_only_the_errors_of_some_codes_are_about_a_key() -> None:
    with refused(InputError, "test") as error, errors_at(FILE, "split", only=("other",)):
        raise InputError("It does not work", code="test")
    assert "place" not in error.value.fields
    with refused(InputError, "test", place="split"), errors_at(FILE, "split", only=("other", "test")):
        raise InputError("It does not work", code="test")


def test_paths_have_dots_before_keys_and_brackets_around_indices() -> None:
    value = {"a": [{"b": 1}, 2], "c": "x"}
    assert {key_path(steps): leaf for steps, leaf in leaves(value)} == {"a[0].b": 1, "a[1]": 2, "c": "x"}
