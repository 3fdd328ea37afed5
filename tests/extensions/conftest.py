"""Installs packages for one test: a file of `plugins`, and entry points that name its classes or functions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import promptkit as pk
from promptkit.align.aligners import FIRST_ALIGNERS
from promptkit.align.calibrate import CALIBRATIONS
from promptkit.align.extract import EXTRACTIONS
from promptkit.align.labelmap import LABEL_MAPPINGS
from promptkit.align.probes import PROBES
from promptkit.core import state
from promptkit.core.registry import Registry
from promptkit.manipulate.cot import COT
from promptkit.manipulate.demos import SELECTORS
from promptkit.manipulate.modifiers import MODIFIERS
from promptkit.manipulate.order.fixed import ORDERS
from promptkit.metrics import METRICS
from promptkit.models.registry import ENGINES
from promptkit.models.vision.operations import OPERATIONS
from promptkit.training.optimizers import OPTIMIZERS
from tests.support.paths import ROOT
from tests.support.runs import contents
from tests.support.tables import isolate

TABLES: tuple[Registry[Any], ...] = (
    *(SELECTORS, ORDERS, COT, MODIFIERS),
    *(FIRST_ALIGNERS, EXTRACTIONS, CALIBRATIONS, PROBES, LABEL_MAPPINGS),
    *(METRICS, OPTIMIZERS, ENGINES, OPERATIONS),
)
"""All tables that packages add to."""
Install = Callable[..., "Package"]


@dataclass(frozen=True)
class Package:
    """An installed package."""

    site: Path
    """The folder of the package, which is on the path of Python."""
    module: ModuleType
    """Its module in this process."""
    out: Path
    """A folder for runs."""

    def command(self, *words: str) -> str:
        """Runs a command in a separate process and returns its output."""
        path = os.pathsep.join([str(self.site), str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path}
        command = [sys.executable, "-m", "promptkit", *words]
        done = subprocess.run(command, env=environment, cwd=self.out, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *words: str) -> Any:
        """Returns the JSON that a command prints."""
        return json.loads(self.command(*words, "--json"))

    def everywhere(self, words: str, options: Mapping[str, object], **python: object) -> pk.Run:
        """Evaluates from the command line, YAML and Python with the same result; returns the run.

        Args:
            words: The options of the command line.
            options: The options in YAML.
            python: The same options in Python, with objects of the package.
        """
        printed = self.json("eval", *words.split(), "--no-cache", "--out", str(self.out / "command line"))
        (self.out / "eval.yaml").write_text(yaml.safe_dump(dict(options)))
        runs = [
            pk.EvalConfig.from_yaml(self.out / "eval.yaml").run(out=self.out / "yaml", cache=False),
            pk.EvalConfig.from_keywords(**{**options, **python}).run(out=self.out / "python", cache=False),
        ]
        written = {name: (Path(printed["run"]) / name).read_bytes() for name in contents(runs[0])}
        assert contents(runs[0]) == contents(runs[1]) == written
        assert {run.path.name for run in runs} == {Path(printed["run"]).name}
        return runs[1]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Returns a function that installs a file of `plugins` with entry points: group -> names of classes or functions."""
    isolate(monkeypatch, *TABLES)
    shipped = {name: cls for name, cls in state._CLASSES.items() if cls.__module__.startswith("promptkit.")}
    monkeypatch.setattr(state, "_CLASSES", shipped)
    installed: list[str] = []

    def install_package(name: str, source: str | None = None, **points: str) -> Package:
        site, information = tmp_path / "site", tmp_path / "site" / f"{name}-1.0.dist-info"
        information.mkdir(parents=True)
        if source is None:
            shutil.copy(Path(__file__).parent / "plugins" / f"{name}.py", site)
        else:
            (site / f"{name}.py").write_text(source)
        groups = [
            f"[promptkit.{group}]\n" + "".join(f"{each} = {name}:{each}\n" for each in names.split())
            for group, names in points.items()
        ]
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text("\n".join(groups))
        monkeypatch.syspath_prepend(str(site))
        installed.append(name)
        (tmp_path / "runs").mkdir(exist_ok=True)
        return Package(site, import_module(name) if source is None else ModuleType(name), tmp_path / "runs")

    yield install_package
    for name in installed:
        sys.modules.pop(name, None)
