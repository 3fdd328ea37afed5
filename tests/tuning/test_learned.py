"""Learned prompts in tuning: no row is answered by what was trained on it, costs are those of the plan, and runs resume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import promptkit as pk
from promptkit.align.chain import make_chain, reader_for
from promptkit.core.errors import TrainingError
from promptkit.core.manipulation import Learnable
from promptkit.core.model import Model
from promptkit.core.registry import build
from promptkit.manipulate.learned.storage import load_manipulation
from promptkit.manipulate.modifiers import LEARNABLE
from promptkit.tasks.task import Task
from promptkit.training import checkpoint
from promptkit.training.config import TrainingConfig
from promptkit.training.trainer import train_manipulations
from promptkit.tuning import folder as folders
from promptkit.tuning import learned
from promptkit.tuning.answers import PromptAnswers
from promptkit.tuning.baseline_predictor import load_predictor
from promptkit.tuning.baselines import free_baselines
from promptkit.tuning.budget import Budget, Meter, Spent
from promptkit.tuning.candidates import PromptCandidate
from promptkit.tuning.challengers import Challengers
from promptkit.tuning.costs import prompt_cost
from promptkit.tuning.folds import TuningRows, stratified
from promptkit.tuning.learned import FoldTraining
from promptkit.tuning.rows import labeled_rows
from promptkit.tuning.space import Space
from promptkit.tuning.space_builder import SpaceBuilder
from promptkit.tuning.stopwatch import DoesNotFit, Stopwatch
from promptkit.tuning.training import most_rows, trained_predictor, training_requests
from promptkit.tuning.tune import tune_space
from promptkit.tuning.tuning import Tuning
from tests.support.tiny import save
from tests.tuning.test_tune import files

TRAINING = TrainingConfig(steps=4, batch_size=4, eval_every=2, patience=None)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return pk.load(str(save(tmp_path_factory.mktemp("model"), "llama")))


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return table(tmp_path, 40)


def table(folder: Path, count: int) -> Task:
    lines = [f"{('liked it a lot', 'a long dull evening')[number % 2]} {number},{'yn'[number % 2]}" for number in range(count)]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *lines]))
    return pk.task(folder / "reviews.csv")


def learned_prompt(
    task: Task, model: Model, name: str = "soft:length=2", training: TrainingConfig = TRAINING
) -> PromptCandidate:
    reader = reader_for(task).for_model(model.card)
    modifier = build("learned manipulation", LEARNABLE, name, seed=0)
    predictor = pk.Predictor(model, [pk.Prompt(task.spec.template), modifier], reader)
    chains = (make_chain(reader), make_chain([reader, pk.calibrate.Vector()]))
    return PromptCandidate(name=name, predictor=predictor, chains=chains, training=training)


def tuning(task: Task, model: Model, *budgets: Budget, names: Sequence[str] = ("soft:length=2",)) -> Tuning:
    """Returns tuning with a prompt without demonstrations and learned prompts."""
    trained = [learned_prompt(task, model, name) for name in names]
    plain = replace(
        trained[0],
        name="0 shots",
        predictor=pk.Predictor(model, pk.Prompt(task.spec.template), trained[0].predictor.reader),
        training=None,
    )
    space = Space(prompts=(plain,), learned=tuple(trained), baselines=tuple(free_baselines(task)))
    return Tuning(task=task, rows=labeled_rows(task), space=space, budgets=budgets)


def without_baselines(task: Task, model: Model, *budgets: Budget) -> Tuning:
    """Returns tuning in which no baseline can win before all rows are answered."""
    found = tuning(task, model, *budgets)
    return replace(found, space=replace(found.space, baselines=()))


def unwatched(fold: int, step: int, steps: int) -> None:
    """Lets training go on."""


def fold_training(rows: TuningRows, model: Model, out: Path, name: str = "soft:length=2") -> FoldTraining:
    prompt = learned_prompt(rows.task, model, name)
    return FoldTraining(prompt, 1, rows, out, cache=False, watch=unwatched)


@pytest.mark.parametrize("name", ["soft:length=2", "steering", "loreft:rank=1", "trigger-tokens:length=1"])
def test_no_row_is_answered_by_what_was_trained_on_it(task: Task, model: Model, tmp_path: Path, name: str) -> None:
    rows = stratified(task, labeled_rows(task))
    training = fold_training(rows, model, tmp_path, name)
    for fold in range(1, rows.of + 1):
        (part,) = training.predictor(fold).manipulate.modifiers
        assert isinstance(part, Learnable)
        of_fold = {row.content for row, number in zip(rows.rows, rows.folds, strict=True) if number == fold}
        assert part.fitted_on
        assert not part.fitted_on & of_fold
        assert part.fitted_on | of_fold == {row.content for row in rows.rows}
    (part,) = training.predictor(0).manipulate.modifiers
    assert part.fitted_on == {row.content for row in rows.rows}


def test_the_labels_of_a_fold_do_not_change_its_predictions(task: Task, model: Model, tmp_path: Path) -> None:
    rows = stratified(task, labeled_rows(task))
    in_fold = np.array(rows.folds) == 2
    changed = tuple(
        replace(row, label="yn"[row.label == "y"]) if inside else row for row, inside in zip(rows.rows, in_fold, strict=True)
    )
    found = []
    for number, each in enumerate((rows, replace(rows, rows=changed))):
        training = fold_training(each, model, tmp_path / str(number))
        prompt = learned_prompt(task, model)
        answers = PromptAnswers(prompt.predictor, prompt.chains, each, None, training=training)
        answers.answer(len(rows))
        predictions = answers.predictions(prompt.chains[0])
        assert predictions is not None
        found.append(predictions.logprobs)
    before, after = found
    assert np.array_equal(before[in_fold], after[in_fold])
    assert not np.array_equal(before, after)


def test_random_labels_are_predicted_by_chance(task: Task, model: Model, tmp_path: Path) -> None:
    accuracies = []
    config = replace(TRAINING, learning_rate=0.3, steps=8)
    for seed in range(8):
        rows = labeled_rows(task)
        random = np.random.default_rng(seed).permutation([row.label for row in rows])
        shuffled = stratified(task, [replace(row, label=str(label)) for row, label in zip(rows, random, strict=True)], seed)
        prompt = learned_prompt(task, model, training=config)
        training = FoldTraining(prompt, 1, shuffled, tmp_path / str(seed), cache=False, watch=unwatched)
        answers = PromptAnswers(prompt.predictor, prompt.chains, shuffled, None, training=training)
        answers.answer(len(rows))
        accuracies += [found.correct.mean() for chain in prompt.chains if (found := answers.predictions(chain)) is not None]
    assert np.mean(accuracies) < 0.5 + 3 * np.std(accuracies) / (len(accuracies) / 2) ** 0.5


@pytest.mark.parametrize("name", ["soft:length=2", "trigger-tokens:length=1"])
def test_training_computes_the_rows_that_are_planned(task: Task, model: Model, tmp_path: Path, name: str) -> None:
    rows = stratified(task, labeled_rows(task))
    prompt = learned_prompt(task, model, name)
    planned, predictor = most_rows(prompt, rows), trained_predictor(prompt)
    assert predictor is not None
    for fold, most in zip((*range(1, rows.of + 1), 0), planned, strict=True):
        found = train_manipulations(predictor, rows.training_task(fold), TRAINING, out=tmp_path, cache=False)
        assert {"label_map": 0, **found.rows_computed} == most


def test_the_cost_of_a_learned_prompt_is_that_of_the_plan(task: Task, model: Model, tmp_path: Path) -> None:
    rows = stratified(task, labeled_rows(task))
    prompt, training = learned_prompt(task, model), fold_training(rows, model, tmp_path)
    cost = prompt_cost(prompt, rows)
    answers = PromptAnswers(prompt.predictor, prompt.chains, rows, None, training=training)
    answers.answer(len(rows))
    answers.fitted(prompt.chains[0])
    assert answers.requests == cost.requests(len(rows), rows.of)
    assert answers.trained == sum(map(training_requests, most_rows(prompt, rows)))
    assert answers.tokens == pytest.approx(cost.tokens(len(rows)), rel=0.02)


def test_a_learned_prompt_enters_after_the_others_if_the_budget_suffices(task: Task, model: Model, tmp_path: Path) -> None:
    cost = prompt_cost(learned_prompt(task, model), stratified(task, labeled_rows(task)))
    plain, most = 40, cost.requests(40, 5)
    enough = tune_space(without_baselines(task, model, Budget(plain + most, "requests")), out=tmp_path, cache=False)
    names = [each.name for each in enough.standings]
    assert {"soft:length=2", "soft:length=2 · vector"} <= {*names}
    assert enough.result.requests <= plain + most
    assert enough.result.answered == 40
    too_little = tune_space(without_baselines(task, model, Budget(plain + most - 1, "requests")), out=tmp_path, cache=False)
    assert not any("soft" in each.name for each in too_little.standings)
    assert too_little.result.requests == plain
    assert any("left out: soft:length=2" in note for note in too_little.result.notes)
    assert not (too_little.path / "training").exists()


def test_the_predictor_of_a_learned_prompt_is_trained_on_all_rows(task: Task, model: Model, tmp_path: Path) -> None:
    found = tune_space(without_baselines(task, model), out=tmp_path, cache=False)
    predictor = load_predictor(found.path / "predictor")
    assert isinstance(predictor, pk.Predictor)
    if "soft" in found.result.winner:
        assert predictor.fitted_on == {row.content for row in labeled_rows(task)}
    parts = [load_manipulation(path) for path in found.path.glob("learned/*/*/1-soft")]
    assert len(parts) == 5 + ("soft" in found.result.winner)


def test_a_learned_predictor_is_saved_with_what_was_trained_on_all_rows(task: Task, model: Model, tmp_path: Path) -> None:
    rows, prompt = stratified(task, labeled_rows(task)), learned_prompt(task, model)
    answers = PromptAnswers(prompt.predictor, prompt.chains, rows, None, training=fold_training(rows, model, tmp_path))
    answers.answer(len(rows))
    new = [{"text": "a dull film"}, {"text": "liked it"}]
    for number, chain in enumerate(prompt.chains):
        predictor = answers.fitted(chain)
        assert predictor.fitted_on == {row.content for row in rows.rows}
        loaded = pk.Predictor.load(predictor.save(tmp_path / f"saved-{number}"))
        assert np.array_equal(predictor.predict_proba(new), loaded.predict_proba(new))


def test_programs_for_images_are_trained_with_a_label_map(tmp_path: Path) -> None:
    images = pk.task("digits")
    rows = stratified(images, labeled_rows(images, limit=40))
    builder = SpaceBuilder(images, rows.rows, 0)
    training = replace(TRAINING, steps=2)
    builder.add_learned(pk.load("vision:demo"), [pk.ImageProcessor(), pk.Watermark()], training=training)
    (prompt,) = builder.learned
    predictor = trained_predictor(prompt)
    assert predictor is not None
    assert predictor.name == "blm+"
    answers = PromptAnswers(
        prompt.predictor,
        prompt.chains,
        rows,
        None,
        training=FoldTraining(prompt, 1, rows, tmp_path, cache=False, watch=unwatched),
    )
    answers.answer(len(rows))
    answers.fitted(prompt.chains[0])
    assert answers.requests == prompt_cost(prompt, rows).requests(len(rows), rows.of)


class Killed(BaseException):
    """Ends a process at once: no handler of exceptions catches it."""


def test_runs_that_are_killed_during_training_end_with_the_same_files(
    task: Task, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments: list[int] = [0, 0]  # the moments so far, and the one at which the process is killed

    def killing(write: object) -> object:
        def written(path: Path, content: bytes) -> None:
            for before in (True, False):
                moments[0] += 1
                if moments[0] == moments[1]:
                    raise Killed
                if before:
                    assert callable(write)
                    write(path, content)

        return written

    def tuned(out: Path) -> dict[str, bytes]:
        return files(tune_space(tuning(task, model, names=("soft:length=2", "steering")), out=out, cache=False).path)

    for module in (folders, checkpoint):
        monkeypatch.setattr(module, "write_atomically", killing(module.write_atomically))
    from promptkit.core import files as core_files

    monkeypatch.setattr(core_files, "write_atomically", killing(core_files.write_atomically))
    expected, total = tuned(tmp_path / "whole"), moments[0]
    assert any(name.startswith("learned") for name in expected)
    draw, killed = np.random.default_rng(0), 0
    while killed < 12:
        moments[0], moments[1] = 0, int(draw.integers(1, total))
        try:
            tuned(tmp_path / "parts")
        except Killed:
            killed += 1
        else:
            assert files(next((tmp_path / "parts").iterdir())) == expected
            break
    moments[1] = 0
    assert tuned(tmp_path / "parts") == expected


def test_a_prompt_whose_training_fails_is_left_out(
    task: Task, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise TrainingError("The loss is not finite", code="diverged")

    monkeypatch.setattr(learned, "train_manipulations", failing)
    found = tune_space(tuning(task, model), out=tmp_path, cache=False)
    assert any("left out: soft:length=2. The loss is not finite" in note for note in found.result.notes)
    assert not {"learned", "training"} & {path.name for path in found.path.iterdir() if any(path.glob("*"))}


def test_training_that_would_take_too_long_is_stopped(task: Task, model: Model) -> None:
    rows, now = stratified(task, labeled_rows(task)), [0.0]
    prompt = learned_prompt(task, model)
    meter = Meter(budgets=[Budget(100.0)], clock=lambda: now[0])
    watch = Stopwatch(meter=meter, rows=rows, clock=lambda: now[0])
    watch.start(prompt, prompt_cost(prompt, rows))
    for step in (1, 2, 3, 4):  # one second each: about 24 steps in all
        watch(1, step, 4)
        now[0] += 1
    watch.start(prompt, prompt_cost(prompt, rows))
    for step in (1, 2):
        watch(1, step, 4)
        now[0] += 6
    with pytest.raises(DoesNotFit):
        watch(1, 3, 4)
    watch(0, 1, 4)


@pytest.mark.parametrize(("seconds", "enters"), [(10.0, False), (0.1, True)])
def test_training_does_not_begin_if_the_prompts_were_much_too_slow(
    task: Task, model: Model, seconds: float, enters: bool
) -> None:
    rows, entered, left_out = stratified(task, labeled_rows(task)), list[int](), dict[str, str]()
    meter = Meter(budgets=[Budget(1000.0)], clock=lambda: 0.0)
    meter.spent[0] = Spent(rows=40, seconds=40 * seconds, requests=40, tokens=0)

    def enter(number: int) -> list[int]:
        entered.append(number)
        return [7]

    challengers = Challengers(
        prompts=[learned_prompt(task, model)],
        first=1,
        rows=rows,
        meter=meter,
        stopwatch=Stopwatch(meter=meter, rows=rows),
        enter=enter,
        discard=lambda number: None,
        record=lambda name, reason: left_out.update({name: reason}),
    )
    assert challengers() == ([7] if enters else ())
    assert entered == ([1] if enters else [])
    assert bool(left_out) is not enters
    assert challengers() == ()


def test_a_model_without_gradients_has_no_learned_prompts(task: Task) -> None:
    builder = SpaceBuilder(task, labeled_rows(task), 0)
    builder.add_learned(pk.load("fake"), [pk.Prompt(task.spec.template), pk.SoftPrompt(2)])
    assert builder.learned == ()
    assert any("no gradients" in note for note in builder.notes)


def test_few_rows_leave_learned_prompts_out(tmp_path: Path, model: Model) -> None:
    task = table(tmp_path, 2)
    builder = SpaceBuilder(task, labeled_rows(task), 0)
    builder.add_learned(model, [pk.Prompt(task.spec.template), pk.SoftPrompt(2)])
    assert builder.learned == ()
    assert any("too few" in note for note in builder.notes)
