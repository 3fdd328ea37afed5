"""The wheel holds all that a run needs, and finds it away from any checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.support.paths import ROOT


def test_the_wheel_evaluates_the_bundled_task_elsewhere(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    wheel = next(iter(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])))
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    assert not (site / "tests").exists()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = (
        "import sys, promptkit; assert promptkit.__file__.startswith(sys.argv[1]), promptkit.__file__; "
        "sys.argv[1:] = sys.argv[2:]; from promptkit.cli.main import main; main()"
    )
    command = ["eval", "sentiment", "--model", "fake", "--limit", "5", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, str(site), *command],
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 5
