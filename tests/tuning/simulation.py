"""The script of `benchmarks/tune_simulation` as a module."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location

from tests.support.paths import ROOT

HERE = ROOT / "benchmarks" / "tune_simulation"
_spec = spec_from_file_location("tune_simulation", HERE / "run.py")
assert _spec is not None
assert _spec.loader is not None
_module = module_from_spec(_spec)
sys.modules[_spec.name] = _module  # dataclasses look it up
_spec.loader.exec_module(_module)
Setting, replicate, TABLES = _module.Setting, _module.replicate, _module.TABLES
