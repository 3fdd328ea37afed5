"""Shared fixtures of the tests of evaluations."""

from __future__ import annotations

import pytest

import promptkit as pk
from tests.support.probe_runs import LEARNED, run, write_task


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> pk.Run:
    """A run with all probes and label maps. Tests must not change its folder."""
    folder = tmp_path_factory.mktemp("runs")
    return run(write_task(folder / "task"), folder, LEARNED)
