"""A calibration, a probe and a need of installed packages are saved with a predictor, and loaded in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import promptkit as pk
from promptkit.align.chain import CALIBRATIONS
from promptkit.core.registry import build
from tests.extensions.conftest import Install
from tests.support.paths import ROOT
from tests.support.probe_runs import WORDS, write_task

ROWS = [{"text": "a fine evening"}, {"text": "never again"}]
SCRIPT = """
import json, sys
import promptkit as pk

predictions = pk.Predictor.load(sys.argv[1]).predict(json.loads(sys.argv[2]))
print(predictions.probabilities.tobytes().hex())
"""


@pytest.mark.parametrize(
    ("plugin", "group", "name", "spelling"),
    [
        ("sharpen", "calibrations", "Sharpen", "sharpen:power=3"),
        ("manhattan", "probes", "Manhattan", "manhattan:per_class=4"),
        ("alphabetical", "label_maps", "Alphabetical", "alphabetical:per_class=4"),
        ("mirrored", "calibrations", "Mirrored", "mirrored:weight=0.25"),
    ],
)
def test_a_saved_aligner_of_a_package(
    install: Install, plugin: str, group: str, name: str, spelling: str, tmp_path: Path
) -> None:
    package = install(plugin, **{group: name})
    align = [pk.Verbalizer(WORDS), build("calibration", CALIBRATIONS, spelling)]
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), align)
    fitted = predictor.fit(write_task(tmp_path / "task"), cache=False)
    folder = fitted.save(tmp_path / "predictor")
    path = os.pathsep.join([str(package.site), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), json.dumps(ROWS)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == fitted.predict(ROWS).probabilities.tobytes().hex()


def test_without_the_package_the_predictor_is_refused(install: Install, tmp_path: Path) -> None:
    package = install("manhattan", probes="Manhattan")
    align = [pk.Verbalizer(WORDS), package.module.Manhattan(per_class=4)]
    fitted = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), align).fit(write_task(tmp_path / "task"), cache=False)
    folder = fitted.save(tmp_path / "predictor")
    entries = json.loads((folder / "predictor.json").read_text())
    assert "manhattan-means" in json.dumps(entries["calibration"])
    script = SCRIPT.replace("predictions =", "from promptkit.core.errors import InputError\ntry:\n    predictions =")
    script = script.split("print")[0] + "except InputError as error:\n    print(error.code, error.fields['name'])\n"
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), json.dumps(ROWS)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["unknown-name", "manhattan"], done.stderr
