"""A predictor that is fitted with vLLM and saved predicts the same in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import promptkit as pk
from tests.support.paths import ROOT

installed = find_spec("vllm") is not None
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not installed, reason="vLLM is not installed: make test-vllm"),
]
SCRIPT = """
import json, sys
import promptkit as pk

if __name__ == "__main__":
    predictions = pk.Predictor.load(sys.argv[1]).predict(json.loads(sys.argv[2]))
    print(json.dumps([list(predictions.predictions), predictions.probabilities.tolist()]))
"""


def test_a_fresh_process_predicts_the_same(tmp_path: Path) -> None:
    task = pk.task("sentiment")
    labels = pk.Verbalizer(dict(task.spec.labels or {}))
    prompt = pk.Prompt(task.spec.template or "", demos=pk.demos.Balanced(k=4))
    model = pk.load("vllm:demo", max_model_len=1024, dtype="float32")
    fitted = pk.Predictor(model, prompt, [labels, pk.calibrate.Temperature()]).fit(task)
    rows = [{"text": str(row.inputs["text"])} for row in task.rows("test")[:6]]
    expected = fitted.predict(rows)
    folder = fitted.save(tmp_path / "saved")
    model.close()  # type: ignore[attr-defined]
    script = tmp_path / "predict.py"
    script.write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, str(script), str(folder), json.dumps(rows)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    predictions, probabilities = json.loads(done.stdout.splitlines()[-1])
    assert predictions == [*expected.predictions]
    assert np.abs(np.array(probabilities) - expected.probabilities).max() <= 1e-4
