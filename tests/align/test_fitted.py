"""Fitted calibrations: they can be saved, they use no rows of the fit part, and they give the same scores as before."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

import promptkit as pk
from promptkit.align.chain import Chain
from promptkit.align.fitted import ContextCalibration, FittedCalibration
from promptkit.collect.fit_data import StoredAnswers, collect_fit_data
from promptkit.collect.read_outputs import ReadOutputs
from promptkit.collect.requirements import needs_of, uses_fit_part
from promptkit.core.errors import InputError, Unsupported
from promptkit.core.needs import FitData, Needs, Outputs
from promptkit.core.state import State, from_state
from promptkit.needs.content_free import ContentFree
from promptkit.needs.fit_rows import FitLabels
from promptkit.tasks.sampling import by_hash
from tests.extensions.plugins.manhattan import Manhattan
from tests.extensions.plugins.mirrored import Mirrored
from tests.extensions.plugins.sharpen import Sharpen, Sharpened
from tests.support.calibrations import ONE_LABEL
from tests.support.errors import refused
from tests.support.probe_runs import LEARNED, predictors, read_outputs, run, write_task
from tests.support.runs import contents
from tests.support.tables import isolate

CASES = [
    *(name for name in ONE_LABEL if not any(spelled.partition(":")[0] == name for spelled in LEARNED)),
    *LEARNED,
    *("batch:estimate_on=test", "proca:estimate_on=test", "prior:estimate_on=test", "hidden:scale=normalize:per_class=4"),
    *(
        "full:towards=verbalizer:per_class=0",
        "full:towards=verbalizer:per_class=3",
        "full:towards=semantic:per_class=4:tokens=20",
    ),
    *("linear:scale=best:per_class=6", "linear:on=tokens:scale=normalize:per_class=6:tokens=20"),
    *("sharpen", "mirrored", "manhattan:per_class=4"),
]
"""Every aligner that can follow a first aligner, and three of other packages."""
THIRD_PARTY = ("sharpen", "mirrored", "manhattan")
"""The names of the aligners of other packages."""


@pytest.fixture(autouse=True)
def third_party(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch, pk.calibrate.CALIBRATIONS, pk.probes.PROBES)
    pk.calibrate.register(Sharpen)
    pk.calibrate.register(Mirrored)
    pk.probes.register(Manhattan)


@pytest.fixture
def task(tmp_path: Path) -> pk.Task:
    return write_task(tmp_path / "task")


def fit(evaluated: pk.Run, task: pk.Task, spelling: str, *, one_context: bool) -> Chain:
    """The chain of a finished run with its calibration fitted."""
    (chain,) = (predictor.chain for predictor in predictors(evaluated_model(), [spelling]))
    samples, support = (
        [*map(json.loads, contents(evaluated)[f"{file}.jsonl"].splitlines())] for file in ("samples", "support")
    )
    reads = reads_of(evaluated)
    stored = StoredAnswers([chain], samples, support, reads)
    data = collect_fit_data([chain], samples, support, reads)
    rows = by_hash(task.part("fit"), None)
    return chain.fit(data, lambda need: need.fixed(stored, rows), one_context=one_context)


def reads_of(evaluated: pk.Run) -> ReadOutputs | None:
    return read_outputs(evaluated) if (evaluated.path / "outputs.safetensors").exists() else None


def evaluated_model() -> pk.Model:
    return pk.load("fake", batch_tokens=600)


def reloaded(chain: Chain) -> Chain:
    """The chain after its state was written to JSON and safetensors and read again."""
    assert chain.fitted is not None
    state = chain.fitted.state
    arrays = load_arrays(save_arrays(dict(state.arrays)))
    value = from_state(State(value=json.loads(json.dumps(state.value)), arrays=arrays))
    if isinstance(chain.fitted, ContextCalibration):
        assert isinstance(value, tuple)
        return replace(chain, fitted=replace(chain.fitted, pairs=value))
    assert isinstance(value, FittedCalibration)
    return replace(chain, fitted=value)


def random_outputs(chain: Chain, evaluated: pk.Run) -> Outputs:
    """Outputs of other rows, of the shapes that a fitted calibration reads."""
    assert isinstance(chain.fitted, FittedCalibration)
    generator = np.random.default_rng(0)
    read = reads_of(evaluated)
    widths = {name: tensor.shape[1] for name, tensor in read.tensors.items()} if read else {}
    reads = {}
    for _, need in chain.fitted.reads:
        tokens = getattr(need, "token_ids", None)
        hidden = [width for name, width in widths.items() if name.startswith("hidden")]
        width = len(tokens) if tokens else (hidden[0] if need.kind == "hidden states" else 2)
        reads[need] = -np.abs(generator.normal(size=(7, width)))
    return Outputs(logprobs=-np.abs(generator.normal(size=(7, 2))), context=np.zeros(7, int), reads=reads)


@pytest.mark.parametrize("spelling", CASES)
def test_a_fitted_calibration_gives_the_same_run_without_rows_of_the_fit_part(
    spelling: str, task: pk.Task, tmp_path: Path
) -> None:
    before = run(task, tmp_path / "before", [spelling])
    chain = reloaded(fit(before, task, spelling, one_context=True))
    assert chain.is_fitted
    assert not uses_fit_part(needs_of([chain]))
    (predictor,) = predictors(evaluated_model(), [spelling])
    predictor.chain = replace(predictor.chain, fitted=chain.fitted)
    after = pk.evaluate(predictor, task, limit=12, out=tmp_path / "after", cache=False)
    assert after.path.name != before.path.name
    assert "fit " not in contents(after)["support.jsonl"].decode()
    assert contents(after)["samples.jsonl"] == contents(before)["samples.jsonl"]
    assert after.results[0].align == before.results[0].align
    np.testing.assert_allclose(after.results[0].logprobs, before.results[0].logprobs, rtol=1e-9, atol=1e-9)
    assert after.results[0].predictions == before.results[0].predictions
    assert after.results[0].label_maps.keys() == before.results[0].label_maps.keys()


@pytest.mark.parametrize("spelling", CASES)
def test_saving_changes_no_bit_of_the_scores_of_other_rows(spelling: str, task: pk.Task, tmp_path: Path) -> None:
    before = run(task, tmp_path / "before", [spelling])
    chain = fit(before, task, spelling, one_context=True)
    outputs, again = random_outputs(chain, before), reloaded(chain)
    scores = [each.applied.fit(None).apply(outputs) for each in (chain, again)]  # type: ignore[union-attr,arg-type]
    assert scores[0].tobytes() == scores[1].tobytes()
    assert again.settings() == chain.settings()


@pytest.mark.parametrize(("spelling", "shown"), [("contextual", "content-free 'N/A'"), ("domain:bags=2", "words ")])
def test_calibrations_of_each_rows_context_are_fitted_while_predicting(
    spelling: str, shown: str, task: pk.Task, tmp_path: Path
) -> None:
    """The words that `domain` drew from the fit part belong to the predictor."""
    before = run(task, tmp_path / "before", [spelling])
    chain = reloaded(fit(before, task, spelling, one_context=False))
    assert isinstance(chain.fitted, ContextCalibration)
    (predictor,) = predictors(evaluated_model(), [spelling])
    predictor.chain = replace(predictor.chain, fitted=chain.fitted)
    after = pk.evaluate(predictor, task, limit=12, out=tmp_path / "after", cache=False)
    assert after.results[0].logprobs.tobytes() == before.results[0].logprobs.tobytes()
    assert any(json.loads(line)["id"].startswith(shown) for line in contents(after)["support.jsonl"].splitlines())


def test_calibrations_that_need_labels_and_each_rows_context_are_refused(task: pk.Task, tmp_path: Path) -> None:
    @pk.calibrate.register
    @dataclass(frozen=True, kw_only=True)
    class Both:
        name: ClassVar[str] = "both"
        needs: ClassVar[Needs] = (ContentFree("N/A"), FitLabels(8))

        def fit(self, data: FitData) -> Sharpened:
            return Sharpened(1.0)

    before = run(task, tmp_path / "before", ["both"])
    assert fit(before, task, "both", one_context=True).is_fitted
    with refused(Unsupported, "needs-rows-and-context", calibration="both"):
        fit(before, task, "both", one_context=False)


def test_a_fitted_object_that_cannot_be_saved_still_predicts(task: pk.Task, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Local:
        def apply(self, outputs: Outputs) -> Any:
            return 3 * outputs.logprobs

    @pk.calibrate.register
    @dataclass(frozen=True, kw_only=True)
    class Unsaved:
        name: ClassVar[str] = "unsaved"
        needs: ClassVar[Needs] = ()

        def fit(self, data: FitData) -> Local:
            return Local()

    before = run(task, tmp_path / "before", ["unsaved"])
    chain = fit(before, task, "unsaved", one_context=True)
    outputs = Outputs(logprobs=np.array([[-1.0, -2.0]]), context=np.zeros(1, int))
    assert chain.applied is not None
    assert chain.applied.fit(FitData(labels=(), items=outputs)).apply(outputs).tolist() == [[-3.0, -6.0]]
    with refused(InputError, "not-saveable"):
        chain.settings()
