"""The formula in one class: y = align(model(manipulate(x)))."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from promptkit.align.chain import Aligners, Chain, make_chain
from promptkit.core.arguments import check_arguments
from promptkit.core.examples import Example
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.manipulation import Ask, BindContext, Manipulation, Modifier
from promptkit.core.model import Model
from promptkit.core.output_reader import OutputReader
from promptkit.display.progress import Progress
from promptkit.manipulate.compose import Manipulations, composed, without_modifiers
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.models.registry import load
from promptkit.predictor import saved
from promptkit.predictor.bound import BoundPredictor
from promptkit.predictor.columns import Columns
from promptkit.predictor.compatibility import (
    check,
    check_aligners,
    check_features,
    check_objects,
    check_shared_labels,
    needed_features,
)
from promptkit.predictor.decide.rule import Rule, rule_for
from promptkit.predictor.estimate import Estimate
from promptkit.predictor.fit import check_fitted, fit_chain, unfitted_stages
from promptkit.predictor.hub import local_folder, push
from promptkit.predictor.in_chunks import predict_in_chunks
from promptkit.predictor.out_of_fold import OutOfFold
from promptkit.predictor.predictions import Predictions
from promptkit.predictor.saved_stages import check_no_words
from promptkit.predictor.session import Session, Unreadable, read_rows
from promptkit.tasks.readers import Row
from promptkit.tasks.single_table import fitting_task
from promptkit.tasks.task import Task

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats
    from promptkit.predictor.sklearn_classifier import PromptClassifier


class Predictor:
    """A frozen model with a manipulation of its input and an alignment of its output."""

    def __init__(self, model: Model, manipulate: Manipulations, align: Aligners, *, columns: Columns | None = None) -> None:
        """Creates a predictor; no weights are loaded.

        Args:
            model: A model from `load`.
            manipulate: A prompt, or a list of a prompt and modifiers of it, such as a soft prompt.
            align: An aligner, or a list of aligners. The first one is a verbalizer, choices or an extraction; a calibration,
                probe, label mapping or vote may follow.
            columns: The columns that `predict` reads the inputs of a row from. By default each variable is a column.

        Raises:
            InputError: The manipulations or aligners cannot be combined.
            Unsupported: The model cannot answer what the aligners request, or does not accept the modifiers.
            CheckpointError: A modifier was trained on another model.
        """
        check_objects(model, manipulate)
        manipulation, chain = composed(manipulate), make_chain(align)
        needed = needed_features(manipulation, manipulation.modifiers, chain.reader, chain.calibrations)
        check_features(manipulation.requires, model.name, model.capabilities, needed)
        check_aligners(chain.reader, chain.calibrations, model.name, model.capabilities, needed)
        chain = replace(chain, reader=chain.reader.for_model(model.card))
        check(manipulation, model, needed)
        self.model = model
        self.manipulate = manipulation
        self.chain = chain
        self.needed_features = needed  # by which its model is checked
        self.columns = columns or Columns(
            inputs={variable: variable for variable in sorted(manipulation.variables)},
            modality="image" if "image" in manipulation.requires else "text",
        )
        self.estimate: Estimate | None = None
        """Its results on labeled rows that it was not fitted on, if they are known."""
        self.out_of_fold: OutOfFold | None = None
        """The probabilities of these rows, the basis of statements about new rows."""

    @check_arguments("Predictor.with_estimate")
    def with_estimate(self, estimate: Estimate, out_of_fold: OutOfFold | None = None) -> Predictor:
        """Returns the predictor with its results on labeled rows that it was not fitted on, and their probabilities if any."""
        predictor = copy(self)
        predictor.estimate, predictor.out_of_fold = estimate, out_of_fold
        return predictor

    @property
    def reader(self) -> OutputReader:
        """The first aligner of the chain, which reads the model's output."""
        return self.chain.reader

    @property
    def name(self) -> str:
        """The name of the last aligner of the chain."""
        return self.chain.name

    @property
    def fitted_on(self) -> frozenset[Fingerprint]:
        """The labeled rows that it contains or was trained on. Evaluating it on one of them is refused."""
        return self.manipulate.fitted_on | self.chain.fitted_on

    @check_arguments("Predictor.rows_read")
    def rows_read(self, task: Task) -> frozenset[Fingerprint]:
        """Returns the labeled rows that its prompts depend on: the rows it contains, and the parts of a task that it reads."""
        return self.fitted_on.union(row.content for part in self.manipulate.parts for row in task.part(part))

    def identity(self) -> Mapping[str, object]:
        """Returns everything that determines its predictions."""
        prompt, aligners = dict(self.manipulate.settings()), self.chain.settings()
        return {"model": dict(self.model.identity()), "manipulate": prompt, "align": aligners}

    def notes(self) -> Sequence[str]:
        """Returns notes of its model for readers of the predictions."""
        return self.model.notes()

    # ---- prediction ----------------------------------------------------------------------------------

    @property
    def is_fitted(self) -> bool:
        """Whether the predictor takes nothing from the rows of a task, so that it can predict new rows."""
        return not unfitted_stages(self.manipulate, self.chain)

    @check_arguments("Predictor.fit")
    def fit(self, task: Task, *, split: str | None = None, folds: int | None = None, cache: bool = True) -> Predictor:
        """Returns a fitted predictor, which contains everything that it takes from the rows of a task.

        The fitted predictor predicts new rows without the task. Its prompt keeps the demonstrations, or the rows that they are
        retrieved from. A calibration is fitted on the fit part of the train split, even if an evaluation fits it on the
        evaluated rows. If `evaluate` divides the rows into folds, all of them are used.

        Args:
            task: The task.
            split: The split that is evaluated; the task's default if None.
            folds: As for `evaluate`; with 1, half of the rows of a single table are left to evaluate the predictor on.
            cache: Whether to take answers from the score cache and to add new ones.

        Raises:
            PromptkitError: The predictor cannot be fitted on the task.
        """
        task = fitting_task(task, split=split, folds=folds, parts=self.manipulate.parts)
        scores = ScoreCache() if cache else None
        manipulation = self.manipulate.fit(self.bind_context(task, cache=scores))
        fitted = self.with_stages(manipulation, self.chain, Columns.of_task(task))
        chain = fit_chain(self.chain, self.model, fitted.bind(task, cache=scores).encode, task, scores)
        return fitted.with_stages(manipulation, chain, fitted.columns)

    @check_arguments("Predictor.predict")
    def predict(
        self,
        rows: object,
        *,
        threshold: float | None = None,
        risk: float | None = None,
        sets: float | None = None,
        progress: Progress | Literal[False] | None = None,
    ) -> Predictions:
        """Predicts rows without labels.

        Args:
            rows: The rows: a list of mappings from columns to values, a data frame of pandas or polars, or a
                `datasets.Dataset`. If the predictor reads one column, its values suffice: a list of texts, or of images.
            threshold: Abstain from rows whose likeliest label has a probability below this.
            risk: Abstain from as few rows as possible, so that at most this share of the answers is wrong, with 95%
                confidence.
            sets: Give each row a set of labels that contains the right one with at least this probability.
            progress: Called after each batch of the model with the number of finished rows and of all rows; False shows
                nothing. By default a bar in a terminal or notebook, and otherwise a line every 30 seconds, is shown.

        Raises:
            InputError: The predictor is not fitted (`not-fitted`), these are not rows, or the predictor has no held-out
                rows for `risk` or `sets`.
            PromptkitError: The model fails. A row that cannot be read, or whose prompt is too long, has an error instead of a
                prediction.
        """
        rule = self.rule(threshold=threshold, risk=risk, sets=sets)
        parts = predict_in_chunks(self._session, self.columns, rows, progress)
        predictions = Predictions.joined(parts, self.reader)
        return predictions if rule is None else predictions.decided(rule)

    @check_arguments("Predictor.rule")
    def rule(self, *, threshold: float | None = None, risk: float | None = None, sets: float | None = None) -> Rule | None:
        """Returns the rule that decides which rows are answered; None if every row is. The arguments are those of `predict`."""
        if threshold is None and risk is None and sets is None:
            return None
        check_shared_labels(self.reader, self.name, "A threshold, a risk and label sets are for")
        return rule_for(self.out_of_fold, threshold=threshold, risk=risk, sets=sets)

    def predict_proba(self, rows: object) -> Floats:
        """Returns the probability of each label for rows without labels, shape (rows, K); 0 in a row without an answer.

        If any number of labels can apply to a row, these are the probabilities that each label applies.

        Args:
            rows: As for `predict`.

        Raises:
            Unsupported: The answers are generated texts, which have no probabilities.
            PromptkitError: As for `predict`.
        """
        check_shared_labels(self.reader, self.name, "There are probabilities of", several=True)
        return self.predict(rows).probabilities

    @check_arguments("Predictor.read_rows")
    def read_rows(self, rows: Sequence[Row], *, first: int = 1, folder: Path | None = None) -> list[Example | Unreadable]:
        """Returns rows as examples; one that cannot be read is `Unreadable`.

        Args:
            rows: The rows, as mappings from columns to values.
            first: The number of the first row, for error messages.
            folder: The folder that the paths of images are relative to; by default the current folder.
        """
        return read_rows(self.columns, rows, first, folder or Path())

    def as_sklearn(self) -> PromptClassifier:
        """Returns a classifier of scikit-learn that predicts with this predictor, and fits it on labeled rows.

        Raises:
            Unsupported: The answers are not labels that all rows share.
        """
        from promptkit.predictor.sklearn_classifier import PromptClassifier

        check_shared_labels(self.reader, self.name, "A classifier of scikit-learn predicts")
        return PromptClassifier(self)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_session"}

    def __deepcopy__(self, memo: object) -> Predictor:
        return self  # a predictor does not change, and the weights of its model are not copied

    @cached_property
    def _session(self) -> Session:
        return self.session(keep_prefix=True)

    @check_arguments("Predictor.session")
    def session(self, *, keep_prefix: bool = False) -> Session:
        """Returns a session, which predicts rows in chunks and computes only once what all rows share.

        Args:
            keep_prefix: Whether the model caches its computation for the common prefix of the prompts.

        Raises:
            InputError: The predictor is not fitted.
        """
        check_fitted(self.manipulate, self.chain, "predict")
        ask = CachedModel(self.model)
        encode = self.manipulate.bind(BindContext(ask=ask, reader=self.reader, other_models=self._other_models(None)))
        return Session(self.model, self.chain, encode, ask, self.columns.sample(), keep_prefix=keep_prefix)

    def _other_models(self, cache: ScoreCache | None, load_model: Callable[[str], Model] = load) -> dict[str, Ask]:
        return {name: CachedModel(load_model(name), cache) for name in self.manipulate.models}

    @check_arguments("Predictor.with_stages")
    def with_stages(self, manipulation: Manipulation, chain: Chain, columns: Columns) -> Predictor:
        """Returns a predictor with the same model and other stages, which are not checked again."""
        predictor = copy(self)
        vars(predictor).pop("_session", None)
        predictor.manipulate, predictor.chain, predictor.columns = manipulation, chain, columns
        predictor.estimate, predictor.out_of_fold = None, None
        return predictor

    # ---- binding -------------------------------------------------------------------------------------

    @check_arguments("Predictor.bind")
    def bind(
        self, task: Task, *, ask: Ask | None = None, cache: ScoreCache | None = None, load_model: Callable[[str], Model] = load
    ) -> BoundPredictor:
        """Returns the predictor for the rows of a task. Demonstrations that are searched or fitted once are chosen now.

        Args:
            task: The task.
            ask: Replaces the model while prompts are rendered, for example in a dry run.
            cache: The score cache for requests that are sent while prompts are rendered.
            load_model: Loads other models that the manipulation needs, such as a sentence encoder, by name.
        """
        bind_context = self.bind_context(task, ask=ask, cache=cache, load_model=load_model)
        return BoundPredictor(model=self.model, reader=self.reader, encode=self.manipulate.bind(bind_context))

    @check_arguments("Predictor.bind_context")
    def bind_context(
        self, task: Task, *, ask: Ask | None = None, cache: ScoreCache | None = None, load_model: Callable[[str], Model] = load
    ) -> BindContext:
        """Returns what the manipulation may use for a task. The arguments are those of `bind`."""
        return BindContext(
            ask=ask or CachedModel(self.model, cache),
            reader=self.reader,
            rows={part: task.part(part) for part in self.manipulate.parts},
            other_models=self._other_models(cache, load_model),
        )

    # ---- files ---------------------------------------------------------------------------------------

    @check_arguments("Predictor.save")
    def save(self, folder: str | Path, *, command: str = "") -> Path:
        """Saves the predictor, which must be fitted, as a folder of plain files without pickle.

        The weights of the model are not saved; the predictor is loaded with the same model.

        Args:
            folder: A new or empty folder.
            command: The command that made the predictor, for the model card.

        Returns:
            The folder.

        Raises:
            InputError: The predictor is not fitted (`not-fitted`), or a part of it cannot be saved (`not-saveable`).
            CheckpointError: The folder is not empty, or cannot be written.
        """
        return saved.write(self._contents("save"), folder, command=command)

    @classmethod
    @check_arguments("Predictor.load")
    def load(
        cls,
        folder: str | Path,
        *,
        model: Model | str | None = None,
        settings: Mapping[str, object] | None = None,
        demonstrations: str | Path | None = None,
    ) -> Predictor:
        """Loads a saved predictor. Nothing in its folder is executed, and weights load at the first prediction.

        Args:
            folder: A folder written by `save`, or `hf://user/name` on the Hugging Face hub, also with `@revision`.
            model: The model or its name, if it is elsewhere or on another engine than when the predictor was saved. It must
                have the same weights and the same tokenizer.
            settings: Engine settings, such as `{"device": "cuda"}`, in place of the saved ones.
            demonstrations: The file `demonstrations.jsonl` of a predictor that was published without it.

        Raises:
            CheckpointError: A file is missing or was changed, or the model is not the one that the predictor was fitted with.
        """
        contents = saved.read(local_folder(folder), model=model, settings=settings, demonstrations=demonstrations)
        chain = contents.chain
        calibrations = [chain.calibration] if chain.calibration else []
        manipulate: list[Manipulation | Modifier] = [contents.first, *contents.modifiers]
        predictor = cls(contents.model, manipulate, [chain.reader, *calibrations], columns=contents.columns)
        predictor.chain = replace(chain, reader=predictor.reader)
        predictor.estimate, predictor.out_of_fold = contents.estimate, contents.out_of_fold
        return predictor

    @staticmethod
    @check_arguments("Predictor.template")
    def template(folder: str | Path) -> str | None:
        """Returns the text of the template of a saved predictor; None for images. The arguments are those of `load`."""
        return saved.template_of(local_folder(folder))

    @check_arguments("Predictor.push_to_hub")
    def push_to_hub(self, name: str, *, rows: bool = False, private: bool = True, command: str = "") -> str:
        """Publishes the predictor on the Hugging Face hub.

        Without `rows` the demonstrations, which are your labeled rows, are left out; a predictor that shows demonstrations can
        then be loaded only with the file: `pk.Predictor.load("hf://user/name", demonstrations=FILE)`.

        Args:
            name: `user/name`.
            rows: Whether to publish the rows that demonstrations are taken from, and words that were drawn from rows.
            private: Whether a newly created repository is private.
            command: The command that made the predictor, for the model card.

        Returns:
            The address of the commit.

        Raises:
            InputError: The predictor is not fitted, or contains words of rows (`contains-words`).
            CheckpointError: It cannot be uploaded.
        """
        contents = self._contents("publish")
        if not rows:
            check_no_words(self.chain)
        return push(lambda folder: saved.write(contents, folder, command=command, rows=rows), name, private=private)

    def _contents(self, purpose: str) -> saved.Contents:
        check_fitted(self.manipulate, self.chain, purpose)
        return saved.Contents(
            model=self.model,
            first=without_modifiers(self.manipulate),
            modifiers=self.manipulate.modifiers,
            chain=self.chain,
            columns=self.columns,
            estimate=self.estimate,
            out_of_fold=self.out_of_fold,
        )
