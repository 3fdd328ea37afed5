"""Collects the prompts of a space with the alignments of their answers, and notes on what is left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from promptkit.align.chain import Chain, reader_for
from promptkit.classical.baseline import Baseline
from promptkit.core.calibration import Calibration
from promptkit.core.caller import by_caller
from promptkit.core.errors import InputError, PromptkitError, TrainingError, Unsupported
from promptkit.core.examples import LabeledExample
from promptkit.core.manipulation import Manipulation
from promptkit.core.model import Model
from promptkit.core.output_reader import OutputReader
from promptkit.core.registry import spelling
from promptkit.manipulate.compose import Manipulations, composed, without_modifiers
from promptkit.manipulate.prompt import Prompt
from promptkit.predictor.predictor import Predictor
from promptkit.searches.proposals import PAIRS
from promptkit.tasks.task import Task
from promptkit.training.config import TrainingConfig
from promptkit.tuning.alignments import Answered, default_alignments, suitable_chains
from promptkit.tuning.baselines import EncoderRegression, encoder_at_hand, encoder_baseline, free_baselines
from promptkit.tuning.candidates import PromptCandidate
from promptkit.tuning.folds import stratified
from promptkit.tuning.names import prompt_names
from promptkit.tuning.proposals import proposals_of, set_apart
from promptkit.tuning.rows import training_part
from promptkit.tuning.training import too_few_rows, trained_predictor


@dataclass(frozen=True, slots=True, kw_only=True)
class _Added:
    """A prompt without a name."""

    predictor: Predictor
    chains: tuple[Chain, ...]
    training: TrainingConfig | None
    proposed: int | None

    def asks_the_same(self, other: _Added) -> bool:
        """Whether it sends the same requests as another one, as prompts without demonstrations do with any selector."""
        mine, others = ((each.predictor.manipulate.settings(), each.predictor.reader.settings()) for each in (self, other))
        return self.predictor.model is other.predictor.model and mine == others


@dataclass(slots=True)
class SpaceBuilder:
    """Collects prompts with the alignments of their answers."""

    task: Task
    rows: Sequence[LabeledExample]
    """The labeled rows."""
    seed: int
    """The seed of demonstrations, alignments and training."""
    template: str = ""
    """The template of prompts; by default that of the task."""
    training_part: Sequence[LabeledExample] = field(init=False)
    """As few rows as the other folds of a row can have."""
    _added: list[_Added] = field(default_factory=list)
    _encoders: list[EncoderRegression] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)
    _left_out: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    """Reason -> alignment -> number of prompts that it is left out for."""

    def __post_init__(self) -> None:
        """Counts the rows that demonstrations and alignments have."""
        self.training_part = training_part(self.rows)
        self.template = self.template or self.task.spec.template

    def note(self, text: str) -> None:
        """Adds a note on something that is left out."""
        self._notes.append(text)

    def add(
        self,
        model: Model,
        manipulate: Manipulations,
        *,
        reader: OutputReader | None = None,
        calibrations: Iterable[Calibration] | None = None,
        training: TrainingConfig | None = None,
        proposed: int | None = None,
    ) -> None:
        """Adds a prompt.

        Args:
            model: The model.
            manipulate: The manipulation.
            reader: The first aligner; by default that of the task.
            calibrations: The alignments to try; by default all that need nothing but the answers.
            training: How its learned manipulations are trained.
            proposed: Which of the instructions that the model proposes it will have.

        Raises:
            InputError: A given alignment cannot be fitted on the answers (`alignment-left-out`).
            PromptkitError: The model does not support the prompt.
        """
        manipulation = composed(manipulate)
        own = (reader_for(self.task) if reader is None else reader).for_model(model.card)
        answered = Answered(
            model=model,
            manipulation=manipulation,
            reader=own,
            rows=self.training_part,
            one_context=_has_one_context(manipulation),
        )
        tried = default_alignments(self.seed) if calibrations is None else calibrations
        chains, left_out = suitable_chains(answered, tried, free=calibrations is None)
        if calibrations is not None and left_out:
            raise _left_out(left_out)
        for name, reason in left_out.items():
            self._left_out[reason][name] += 1
        if not chains:
            self.note(f"no alignment of the answers of {model.name} can be fitted on {len(self.rows)} rows")
            return
        predictor = Predictor(model, manipulate, [own, *chains[0].calibrations])
        added = _Added(predictor=predictor, chains=chains, training=training, proposed=proposed)
        if not any(added.asks_the_same(each) for each in self._added):
            self._added.append(added)

    def add_learned(
        self,
        model: Model,
        manipulate: Manipulations,
        *,
        training: TrainingConfig | None = None,
        reader: OutputReader | None = None,
        calibrations: Iterable[Calibration] | None = None,
    ) -> None:
        """Adds a prompt whose manipulations are trained in each fold, or a note if they cannot be.

        Args:
            model: The model.
            manipulate: The prompt or the image, and the manipulations to train.
            training: How they are trained; by default with the default settings and the seed of the space.
            reader: As for `add`.
            calibrations: As for `add`.
        """
        if not self.can_train(model):
            return
        config, before = training or TrainingConfig(seed=self.seed), len(self._added)
        try:
            if too_few_rows(stratified(self.task, self.rows, self.seed)):
                self.note(f"left out: learned prompts. {len(self.rows)} rows are too few to train on some and choose by others")
                return
            self.add(model, manipulate, reader=reader, calibrations=calibrations, training=config)
            if len(self._added) > before and trained_predictor(self.learned[-1]) is None:
                raise self._untrainable(self._added.pop())
        except PromptkitError as error:  # for another modality, or an intervention that the engine does not apply
            names = " + ".join(map(spelling, composed(manipulate).modifiers))
            self.note(f"left out: {names}. {error}")

    def add_proposed(
        self,
        model: Model,
        prompt: Prompt,
        count: int,
        *,
        reader: OutputReader | None = None,
        calibrations: Iterable[Calibration] | None = None,
    ) -> None:
        """Adds a prompt several times, with instructions that the model proposes before the race; or a note if it cannot.

        Args:
            model: The model.
            prompt: The prompt, whose instruction is replaced.
            count: The number of instructions.
            reader: As for `add`.
            calibrations: As for `add`.
        """
        apart, before = set_apart(self.rows, self.seed), len(self._added)
        if "Generate" not in model.capabilities:
            self.note(f"left out: proposed instructions. {model.name} generates no texts")
        elif len(apart) < PAIRS:
            self.note("left out: proposed instructions. There are too few labeled rows to set some apart")
        else:
            for number in range(count):
                named = replace(prompt, instruction=f"proposed by the model, {number + 1}")
                self.add(model, named, reader=reader, calibrations=calibrations, proposed=number)
            try:
                for each in proposals_of(self.prompts):
                    each.amounts(apart, self.seed, None)
            except Unsupported as error:
                self.note(f"left out: proposed instructions. {error}")
                del self._added[before:]

    @property
    def apart(self) -> tuple[LabeledExample, ...]:
        """The rows that instructions are proposed from; none if none are."""
        is_proposed = any(each.proposed is not None for each in self._added)
        return tuple(set_apart(self.rows, self.seed)) if is_proposed else ()

    def can_train(self, model: Model) -> bool:
        """Returns whether a model provides gradients, and adds a note if it does not."""
        if "gradients" not in model.capabilities:
            self.note(f"left out: learned prompts of {model.name}, which provides no gradients")
        return "gradients" in model.capabilities

    @staticmethod
    def _untrainable(added: _Added) -> TrainingError:
        names = tuple(chain.name for chain in added.chains)
        reason = "No label map that is tried can be trained together with it"
        return TrainingError(reason, code="no-trainable-map", got=", ".join(names), aligners=names)

    def add_encoder(self, model: Model | str) -> None:
        """Adds a baseline of a sentence encoder."""
        self._encoders.append(encoder_baseline(model))

    @property
    def prompts(self) -> tuple[PromptCandidate, ...]:
        """The prompts that need no training.

        Raises:
            InputError: There are none (`empty-space`).
        """
        found = self._named([each for each in self._added if each.training is None])
        if found:
            return found
        raise InputError(
            f"There is nothing to try on the task {self.task.name}: no model can answer it, or every prompt is left out",
            code="empty-space",
            got="; ".join(self.notes) or "no model that answers",
            hint="Give a language model for texts, or an image classifier for images"
            + by_caller(command=", with --model", python=""),
            task=self.task.name,
            notes=self.notes,
        )

    @property
    def learned(self) -> tuple[PromptCandidate, ...]:
        """The prompts that are trained in each fold."""
        return self._named([each for each in self._added if each.training is not None])

    @property
    def baselines(self) -> tuple[Baseline, ...]:
        """The baselines: those without a pretrained model, and sentence encoders."""
        at_hand = None if self._encoders else encoder_at_hand()
        regressions = [*self._encoders, *([encoder_baseline(at_hand)] if at_hand else [])]
        return (*free_baselines(self.task), *(each for each in regressions if each.applies_to(self.task.spec)))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out, and why."""
        count = sum(each.training is None for each in self._added)
        alignments = [
            f"left out: {', '.join(names)}{_of_prompts(max(names.values()), count)}. {reason}"
            for reason, names in self._left_out.items()
        ]
        apart = [f"{len(self.apart)} rows are not answered, because instructions are proposed from them"] if self.apart else []
        return (*dict.fromkeys(self._notes), *alignments, *apart)

    @staticmethod
    def _named(added: Sequence[_Added]) -> tuple[PromptCandidate, ...]:
        names = prompt_names([each.predictor for each in added])
        return tuple(
            PromptCandidate(
                name=name, predictor=each.predictor, chains=each.chains, training=each.training, proposed=each.proposed
            )
            for name, each in zip(names, added, strict=True)
        )


def _has_one_context(manipulation: Manipulation) -> bool:
    """Returns whether all rows of a fold have the same demonstrations, or none."""
    first = without_modifiers(manipulation)
    return not isinstance(first, Prompt) or first.selector.is_shared or first.selector.k == 0


def _of_prompts(left_out: int, count: int) -> str:
    return "" if left_out >= count else f" ({left_out} of {count} prompts)"


def _left_out(reasons: dict[str, str]) -> InputError:
    name, reason = next(iter(reasons.items()))
    return InputError(
        f"The alignment {name} cannot be tuned: {reason}",
        code="alignment-left-out",
        hint="Leave it out",
        aligner=name,
        aligners=tuple(reasons),
    )
