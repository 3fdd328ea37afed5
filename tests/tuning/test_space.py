"""The default space of tuning: prompts, alignments and baselines, and what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

import promptkit as pk
from promptkit.align.calibrate import CALIBRATIONS
from promptkit.collect.requirements import needs_of
from promptkit.core.errors import InputError
from promptkit.core.needs import FitData, Needs
from promptkit.models.registry import load
from promptkit.tasks.task import Task
from promptkit.tuning.candidates import PromptCandidate
from promptkit.tuning.rows import labeled_rows
from promptkit.tuning.space import Space, built, default_space
from promptkit.tuning.space_builder import SpaceBuilder
from tests.support.errors import refused
from tests.support.tables import isolate


def table(folder: Path, labels: Sequence[str], each: int) -> Task:
    lines = [f"{label} words {number} about {label},{label}" for number in range(each) for label in labels]
    file = folder / "tickets.csv"
    file.write_text("\n".join(["text,label", *lines]))
    return pk.task(file)


def space_of(
    folder: Path, labels: Sequence[str] = ("spam", "ham"), each: int = 40, model: str = "fake", **settings: Any
) -> Space:
    return default_space(table(folder, labels, each), [load(model, **settings)])


def named(space: Space) -> dict[str, PromptCandidate]:
    return {prompt.name: prompt for prompt in space.prompts}


def alignments(prompt: PromptCandidate) -> list[str]:
    return [chain.name for chain in prompt.chains]


def test_the_cheapest_prompts_come_first(tmp_path: Path) -> None:
    shared, selectors = [f"balanced, k={k}" for k in (4, 8, 16)], ("bm25", "similar", "dpp")
    wordings = ["0 shots, no instruction", "0 shots, instruction 'Answer with one of: ham, spam.'"]
    expected = ["0 shots", *shared, *wordings, *(f"{name}, k={k}" for k in (4, 8, 16) for name in selectors)]
    assert [prompt.name for prompt in space_of(tmp_path).prompts] == expected


def test_an_instruction_does_not_list_many_labels(tmp_path: Path) -> None:
    for count in (20, 21):
        rows = [{"text": f"words {number}", "label": f"label{number % count}"} for number in range(2 * count)]
        prompts = default_space(pk.task(rows, label="label"), [load("fake")]).prompts
        assert any("Answer with" in prompt.name for prompt in prompts) is (count == 20)


def test_a_template_without_an_instruction_is_not_tried_without_one(tmp_path: Path) -> None:
    task = table(tmp_path, ("spam", "ham"), 10)
    text = "{% block input %}{{ text }}{% endblock %}{% block target %} {{ label }}{% endblock %}"
    space = default_space(pk.task(tmp_path / "tickets.csv", template=text), [load("fake")])
    assert not [name for name in named(space) if "no instruction" in name]
    assert [name for name in named(default_space(task, [load("fake")])) if "no instruction" in name]


def test_the_first_alignment_is_the_answer_itself(tmp_path: Path) -> None:
    for prompt in space_of(tmp_path).prompts:
        assert prompt.chains[0].calibration is None
        assert prompt.name_of(prompt.chains[0]) == prompt.name
        assert prompt.predictor.chain.calibration is None
    linear = next(chain for chain in prompt.chains if chain.name == "linear")
    assert prompt.name_of(linear) == f"{prompt.name} · linear"


def test_demonstrations_need_labeled_rows(tmp_path: Path) -> None:
    space = space_of(tmp_path, each=6)  # 4 rows of each label in the other folds
    assert "balanced, k=8" in named(space)
    assert "balanced, k=16" not in named(space)
    assert any("balanced, k=16" in note for note in space.notes)


def test_demonstrations_fit_the_context(tmp_path: Path) -> None:
    space = space_of(tmp_path, context_length=400)
    assert "balanced, k=4" in named(space)
    assert not {"balanced, k=16", "bm25, k=16"} & named(space).keys()
    assert any("k=16" in note and "context" in note for note in space.notes)


def test_no_alignment_sends_requests_that_depend_on_labeled_rows(tmp_path: Path) -> None:
    for prompt in space_of(tmp_path).prompts:
        needs = needs_of(prompt.chains)
        assert not any(need.asks_by_fit_part("text") for need in needs)
        assert not any(need.models for need in needs)


def test_requests_for_the_demonstrations_of_every_row_are_left_out(tmp_path: Path) -> None:
    prompts = named(space_of(tmp_path))
    assert "contextual" in alignments(prompts["balanced, k=4"])
    assert "contextual" in alignments(prompts["0 shots"])
    assert "contextual" not in alignments(prompts["bm25, k=4"])
    assert "pmi" in alignments(prompts["bm25, k=4"])


def test_an_alignment_needs_rows_of_each_label(tmp_path: Path) -> None:
    assert "proca" in alignments(space_of(tmp_path, each=40).prompts[0])
    few = space_of(tmp_path, each=4)
    assert "proca" not in alignments(few.prompts[0])
    assert any("proca" in note for note in few.notes)


def test_a_registered_alignment_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch, CALIBRATIONS)

    @dataclass(frozen=True, kw_only=True)
    class Unchanged:
        """Changes nothing."""

        name: ClassVar[str] = "unchanged-scores"
        needs: ClassVar[Needs] = ()

        def fit(self, data: FitData) -> Any:
            """Returns the identity."""
            raise NotImplementedError

    CALIBRATIONS.register(Unchanged)
    assert all("unchanged-scores" in alignments(prompt) for prompt in space_of(tmp_path).prompts)


def test_several_models_are_named(tmp_path: Path) -> None:
    models = [load("fake:a"), load("fake:b")]
    space = default_space(table(tmp_path, ("spam", "ham"), 20), models)
    names = [prompt.name for prompt in space.prompts]
    assert {"fake:a · 0 shots", "fake:b · 0 shots"} <= {*names}
    assert len({*names}) == len(names)


def test_the_candidates_are_the_baselines_and_every_alignment_of_every_prompt(tmp_path: Path) -> None:
    space = space_of(tmp_path)
    candidates = space.candidates([float(number) for number in range(len(space.prompts))])
    assert len({each.name for each in candidates}) == len(candidates)
    of_prompts = [each for each in candidates if each.prompt is not None]
    assert len(candidates) - len(of_prompts) == len(space.baselines)
    for each in of_prompts:
        assert each.prompt is not None
        prompt = space.prompts[each.prompt]
        assert each.name == prompt.name_of(prompt.chains[each.place])
        assert each.tokens == each.prompt


def test_learned_prompts_have_a_configuration_of_their_training(tmp_path: Path) -> None:
    space = space_of(tmp_path)
    assert space.learned == ()  # the fake model has no gradients
    assert all(prompt.training is None for prompt in space.prompts)


def test_images_have_one_prompt_whose_answers_need_an_alignment() -> None:
    task = pk.task("digits")
    space = default_space(task, [load("vision:demo")], rows=labeled_rows(task, limit=100))
    (image,) = space.prompts
    assert image.name == "plain image"
    assert {"blm", "blm+", "linear", "full"} <= {*alignments(image)}
    assert "semantic" not in alignments(image)  # needs an encoder of names
    assert all(chain.calibration is not None for chain in image.chains)
    assert {"majority", "pixels"} <= {each.name for each in space.baselines}
    assert space.learned
    assert all(each.training is not None for each in space.learned)


def test_a_space_needs_a_model_that_answers(tmp_path: Path) -> None:
    with refused(InputError, "empty-space"):
        default_space(table(tmp_path, ("spam", "ham"), 10), [load("vision:demo")])


def test_a_named_alignment_that_cannot_be_tuned_is_refused(tmp_path: Path) -> None:
    task = table(tmp_path, ("spam", "ham"), 20)
    builder = SpaceBuilder(task, labeled_rows(task), 0)
    with refused(InputError, "alignment-left-out", aligner="knn"):
        builder.add(load("fake"), pk.Prompt(task.spec.template), calibrations=[pk.probes.KNNPrompting()])


def test_named_alignments_are_the_only_ones(tmp_path: Path) -> None:
    task = table(tmp_path, ("spam", "ham"), 20)
    builder = SpaceBuilder(task, labeled_rows(task), 0)
    prompt = pk.Prompt(task.spec.template, demos=pk.demos.BM25(k=2))
    builder.add(load("fake"), prompt, calibrations=[pk.calibrate.Contextual()])
    assert alignments(built(builder).prompts[0]) == ["verbalizer", "contextual"]
