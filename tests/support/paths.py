"""Folders used by tests."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The root of the project."""
DATA = Path(os.environ.get("PROMPTKIT_DATA") or ROOT.parent / "shared" / "data")
"""Real data sets. Tests that need them are skipped if the folder is missing."""
