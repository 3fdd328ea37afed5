"""Folders that tests read."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The root of the project."""
DATA = Path(os.environ.get("PROMPTKIT_DATA") or ROOT.parent / "shared" / "data")
"""Real data sets; tests that need them are skipped where the folder is absent."""
