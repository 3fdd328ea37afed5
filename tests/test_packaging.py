"""The wheel contains everything that a run needs, without a checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.support.paths import ROOT


def test_the_wheel_evaluates_a_bundled_task_outside_the_checkout(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    wheel = next(iter(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])))
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    assert not (site / "tests").exists()
    working_directory = tmp_path / "working_directory"
    working_directory.mkdir()
    code = (
        "import sys, promptkit; assert promptkit.__file__.startswith(sys.argv[1]), promptkit.__file__; "
        "sys.argv[1:] = sys.argv[2:]; from promptkit.cli.main import main; main()"
    )
    command = ["eval", "sentiment", "--model", "fake", "--limit", "5", "--json"]
    result = subprocess.run(
        [sys.executable, "-c", code, str(site), *command],
        cwd=working_directory,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["n"] == 5
