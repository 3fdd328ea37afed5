"""The tables that packages and notebooks add to: one convention, and clear errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

import promptkit as pk
from promptkit.align.aligners import FIRST_ALIGNERS
from promptkit.align.calibrate import CALIBRATIONS, Batch
from promptkit.align.labelmap import LABEL_MAPPINGS
from promptkit.align.probes import PROBES
from promptkit.cli.main import app
from promptkit.core.errors import InputError
from promptkit.core.needs import Needs
from promptkit.core.registry import Registry
from tests.extensions.conftest import TABLES, Install
from tests.support.errors import refused
from tests.support.tables import isolate

every = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.group)


def test_every_table_has_a_kind_and_a_group_of_its_own() -> None:
    assert len({table.kind for table in TABLES}) == len({table.group for table in TABLES}) == len(TABLES)
    assert all(table.group.startswith("promptkit.") for table in TABLES)


def test_a_decorator_for_each_table_is_public() -> None:
    modules: tuple[Any, ...] = (
        *(pk.demos, pk.order, pk.cot, pk.manipulations, pk.aligners, pk.extract),
        *(pk.calibrate, pk.probes, pk.labelmap, pk.metrics, pk.optimizers, pk.engines, pk.operations),
    )
    assert [module.register.__self__ for module in modules] == [*TABLES]


@every
def test_an_incomplete_class_is_refused(table: Registry[Any]) -> None:
    with refused(InputError, "incomplete-class", kind=table.kind, name="Nothing"):
        table.register(type("Nothing", (), {}))
    with refused(InputError, "incomplete-class", kind=table.kind):
        table.register(3)


@every
def test_a_package_that_cannot_be_loaded_is_one_error(table: Registry[Any], install: Install) -> None:
    install("broken", source="import no_such_module\n", **{table.group.removeprefix("promptkit."): "Nothing"})
    for _ in range(2):
        with refused(InputError, "broken-extension", kind=table.kind, name="Nothing"):
            dict(table)


def test_a_broken_package_is_one_message_of_the_command_line(install: Install) -> None:
    install("broken", source="1 / 0\n", selectors="Nothing")
    done = CliRunner().invoke(app, ["eval", "sentiment", "--model", "fake", "--demos", "bm25", "--limit", "2"])
    assert isinstance(done.exception, InputError)
    assert done.exception.code == "broken-extension"


TAKEN = """
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Mine:
    name: ClassVar[str] = "batch"
"""


def test_a_name_that_is_taken_is_refused(install: Install) -> None:
    install("taken", source=TAKEN, calibrations="Mine")
    with refused(InputError, "name-taken", kind="calibration", name="batch"):
        dict(CALIBRATIONS)
    assert CALIBRATIONS._entries["batch"] is Batch


@pytest.mark.parametrize(
    ("table", "name"), [(PROBES, "batch"), (CALIBRATIONS, "blm"), (LABEL_MAPPINGS, "knn"), (FIRST_ALIGNERS, "boxed")]
)
def test_a_name_is_in_only_one_of_the_tables_that_are_searched_together(table: Registry[Any], name: str) -> None:
    taken = dataclass(type("Mine", (), {"name": name}))
    with refused(InputError, "name-taken", kind=table.kind, name=name):
        table.register(taken)


def test_a_class_that_is_defined_again_replaces_the_earlier_one(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch, CALIBRATIONS)

    def define(power: float) -> type:
        @pk.calibrate.register
        @dataclass(frozen=True)
        class Power:
            name: ClassVar[str] = "power"
            needs: ClassVar[Needs] = ()
            exponent: float = power

        return Power

    first, second = define(1.0), define(2.0)
    assert CALIBRATIONS["power"] is second is not first
    with refused(InputError, "name-taken", name="power"):
        CALIBRATIONS.register(dataclass(type("Power", (), {"name": "power"})))


def test_names_of_packages_are_suggested(install: Install) -> None:
    install("longest", selectors="Longest")
    with refused(InputError, "unknown-name", name="longst", close=["longest"]):
        pk.EvalConfig(task="sentiment", model="fake", demos="longst").build()


def test_the_help_lists_the_names_of_packages(install: Install) -> None:
    install("repeat", manipulations="Repeat")
    shown = " ".join(CliRunner().invoke(app, ["eval", "--help"]).output.split())
    assert "invert or repeat; may be given several times" in shown
