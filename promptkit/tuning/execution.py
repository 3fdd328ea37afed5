"""One execution of tuning: the race, the estimate, the chosen predictor, and the files."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np

from promptkit.core.output_reader import OutputReader
from promptkit.evaluation.evaluate import evaluate
from promptkit.metrics.base import Metric
from promptkit.metrics.intervals import Estimate as Interval
from promptkit.metrics.table import estimate as metric_estimate
from promptkit.models.cache import ScoreCache
from promptkit.predictor.columns import Columns
from promptkit.predictor.estimate import Estimate, Figure
from promptkit.predictor.out_of_fold import OutOfFold
from promptkit.tasks.task import Task
from promptkit.tuning.baseline_predictor import AnyPredictor, BaselinePredictor
from promptkit.tuning.baseline_scores import baseline_predictions, compared_metric, predictions_of
from promptkit.tuning.budget import Meter, Spent
from promptkit.tuning.challengers import Challengers
from promptkit.tuning.contest import Contest
from promptkit.tuning.diagnosis import drops, hard_rows, learning_curve, row_names
from promptkit.tuning.direction import Direction
from promptkit.tuning.estimate import RaceEstimate, estimate
from promptkit.tuning.figures import Standing, TuningResult, best_first
from promptkit.tuning.folder import PREDICTOR, TuningFolder
from promptkit.tuning.folds import stratified
from promptkit.tuning.learned import FoldTraining
from promptkit.tuning.proposed_space import propose, with_instructions
from promptkit.tuning.race import Course, RaceSettings, Stage, race
from promptkit.tuning.race_log import LeftOutRecord, RaceLog, TriedRecord
from promptkit.tuning.scoring import RACED, scores_of
from promptkit.tuning.stopwatch import Stopwatch
from promptkit.tuning.tuning import Progress, Tuning, TuningProgress

LEADERS = 5
"""The most candidates that are shown while tuning runs."""


class Execution:
    """One execution of tuning, which continues where an earlier one was interrupted.

    Args:
        tuning: What is tuned.
        folder: The folder, locked by this process.
        cache: The score cache; None for none.
        progress: Called after each block of rows, and in the first one after each prompt.
    """

    def __init__(self, tuning: Tuning, folder: TuningFolder, cache: ScoreCache | None, progress: Progress) -> None:
        self._folder, self._cache, self._progress = folder, cache, progress
        self._rows = stratified(tuning.task, tuning.rows, tuning.seed, apart=tuning.space.apart)
        self._last = TuningProgress(rows=0, of=len(self._rows), prompts=0, leaders=(), share=0.0)
        self._reader = tuning.space.prompts[0].predictor.reader
        self._baselines = baseline_predictions(tuning.space.baselines, self._rows, self._reader)
        self._metric = compared_metric(tuning.metric, self._reader, tuning.task)
        self._direction = Direction(self._metric.higher_is_better)
        self._settings = RaceSettings(metric=RACED.get(self._metric.name, self._metric.name))
        self._meter = Meter(budgets=tuning.budgets, before=folder.seconds())
        self._tuning = tuning = self._with_proposals(tuning)
        self._stopwatch = Stopwatch(meter=self._meter, rows=self._rows)
        self._contest = Contest(
            tuning.space, self._baselines, self._rows, self._metric, self._settings, self._meter, cache, self._training
        )
        self._challengers = Challengers(
            prompts=tuning.space.learned,
            first=len(tuning.space.prompts),
            rows=self._rows,
            meter=self._meter,
            stopwatch=self._stopwatch,
            enter=self._contest.enter_learned,
            discard=lambda number: self._training(number).discard(),
            record=lambda name, reason: folder.append(LeftOutRecord(left_out=name, reason=reason)),
        )

    def _with_proposals(self, tuning: Tuning) -> Tuning:
        """Returns the settings with the instructions that models propose: those that are recorded, or new ones."""
        if not any(each.proposed is not None for each in tuning.space.prompts):
            return tuning
        record = RaceLog.read(self._folder.path).proposed
        if record is None:
            record = propose(tuning.space, self._rows, self._cache)
            self._folder.append(record)
        self._meter.proposals = Spent(requests=record["requests"], tokens=record["tokens"])
        return replace(tuning, space=with_instructions(tuning.space, record["proposed"]))

    def _training(self, number: int) -> FoldTraining:
        """Returns what trains a learned prompt in each fold."""
        prompt = self._tuning.space.all_prompts[number]

        def watch(fold: int, step: int, steps: int) -> None:
            if step == 1:
                self._progress(replace(self._last, training=f"{prompt.name}, {f'fold {fold}' if fold else 'all rows'}"))
            self._stopwatch(fold, step, steps)

        return FoldTraining(prompt, number, self._rows, self._folder.path, cache=self._cache is not None, watch=watch)

    def run(self) -> None:
        """Runs the race and writes the result. After Ctrl-C, the folder contains the best predictor so far."""
        stages: list[Stage] = []

        def record(stage: Stage) -> None:
            self._folder.append(stage.to_json())
            self._record_seconds()
            stages.append(stage)
            self._report(stage)

        try:
            stages += self._start()
            course = race(
                self._contest.candidates,
                len(self._rows),
                self._contest.answer,
                self._settings,
                self._meter,
                recorded=tuple(stages),
                record=record,
                challenge=self._challengers,
            )
            self._finish(course)
        except KeyboardInterrupt:
            leaders = [stage.leader for stage in stages if not self._contest.is_learned(stage.leader)]
            if leaders:  # a learned prompt would have to be trained on all rows first
                self._save(self._predictor(leaders[-1]))
            raise

    def _start(self) -> list[Stage]:
        """Enters the candidates, and returns the stages of an interrupted race, whose answers are repeated."""
        log, seconds = RaceLog.read(self._folder.path), self._folder.prompt_seconds()
        first = log.tried
        if first is None:
            tried = self._contest.try_prompts(self._report_prompt)
            first = TriedRecord(tried=tried, tokens=[self._contest.answers[prompt].tokens_per_row for prompt in tried])
            self._folder.append(first)
        self._challengers.left_out |= log.left_out
        self._contest.enter(first["tried"], first["tokens"])
        self._contest.repeat(first["tried"], log.stages, self._challengers.repeat)
        self._meter.restore(seconds)
        return [*log.stages]

    def _record_seconds(self) -> None:
        self._folder.record_seconds(self._meter.seconds, self._meter.prompt_seconds())

    def _report_prompt(self) -> None:
        """Reports that another prompt has answered the first block of rows."""
        self._record_seconds()
        rows, prompts = min(self._settings.block, len(self._rows)), len(self._meter.spent)
        self._show(self._progress_of(rows, prompts, ()))

    def _report(self, stage: Stage) -> None:
        values = self._settings.values(stage.scores)
        scored = [(float(row.mean()), -place) for place, row in enumerate(values) if not np.isnan(row).any()]
        best = [
            (self._contest.candidates[stage.candidates[-place]].name, self._direction.signed(score))
            for score, place in sorted(scored)[::-1]
        ]
        prompts = len({self._contest.candidates[each].prompt for each in stage.left} - {None})
        self._show(self._progress_of(stage.rows, prompts, best[:LEADERS]))

    def _progress_of(self, rows: int, prompts: int, leaders: Sequence[tuple[str, float]]) -> TuningProgress:
        return TuningProgress(
            rows=rows,
            of=len(self._rows),
            prompts=prompts,
            leaders=tuple(leaders),
            share=self._meter.share(),
            metric=self._metric.name,
            of_prompts=len(self._tuning.space.prompts),
        )

    def _show(self, progress: TuningProgress) -> None:
        self._last = progress
        self._progress(progress)

    # ---- the result ----------------------------------------------------------------------------------------

    def _finish(self, course: Course) -> None:
        contest, tuning = self._contest, self._tuning
        scores = scores_of(self._baselines, self._metric, len(self._rows))
        baselines = self._settings.values(scores) if self._baselines else None
        estimated = estimate(course, contest.candidates, self._settings, np.array(self._rows.folds), baselines=baselines)
        chosen = estimated.number if estimated.beats_baseline else estimated.best_baseline
        assert chosen is not None, "without baselines the winner is recommended"
        known = self._estimate_of(chosen, course, estimated)
        out_of_fold = self._out_of_fold(chosen, self._scored_rows(chosen, course))
        predictor = self._predictor(chosen).with_estimate(known, out_of_fold)
        self._save(predictor)
        test = None if tuning.test is None else test_score(predictor, tuning.test, self._metric, self._reader)
        winner = contest.predictions(estimated.number, self._scored_rows(estimated.number, course))
        assert winner is not None, "the winner has scores"
        names = row_names(self._rows.rows, tuning.row_numbers)
        baseline = estimated.baseline
        result = TuningResult(
            task=tuning.task.name,
            model=", ".join(dict.fromkeys(each.predictor.model.name for each in tuning.space.prompts)),
            metric=self._metric.name,
            higher_is_better=self._direction.higher_is_better,
            rows=len(self._rows),
            folds=self._rows.of,
            answered=self._answered(course),
            winner=contest.candidates[estimated.number].name,
            score=metric_estimate(self._metric, winner).value,
            estimate=self._bounded(estimated.winner.estimate),
            baseline=None if estimated.best_baseline is None else contest.candidates[estimated.best_baseline].name,
            baseline_estimate=None if baseline is None else self._bounded(baseline.estimate),
            difference=self._difference(estimated),
            beats_baseline=estimated.beats_baseline,
            end=course.last.end or "",
            requests=round(self._meter.total("requests")),
            tokens=round(self._meter.total("tokens")),
            curve=tuple(learning_curve(contest, estimated.number, course.last.rows)),
            hard_rows=tuple(hard_rows(contest, course, winner, names)),
            drops=tuple(drops(contest, course, names)),
            test=test,
            test_rows=0 if tuning.test is None else len(tuning.test.rows(tuning.test.spec.split)),
            prompt=self._prompt(estimated.number),
            command=tuning.command,
            is_timed=any(budget.unit == "seconds" for budget in tuning.budgets),
            notes=(*tuning.space.notes, *self._untried()),
        )
        found = [self._standing(number, course) for number in range(len(contest.candidates))]
        standings = best_first(found, self._direction, result.answered)
        self._record_seconds()
        self._folder.finish(result.model_dump(mode="json"), [each.model_dump(mode="json") for each in standings])

    def _predictor(self, number: int) -> AnyPredictor:
        """Returns a candidate as a predictor of new rows."""
        candidate = self._contest.candidates[number]
        if candidate.prompt is not None:
            return self._contest.predictor(number)
        return BaselinePredictor(
            baseline=self._tuning.space.baselines[candidate.place],
            labels=self._tuning.task.labels,
            columns=Columns.of_task(self._rows.task_of_all()),
            fitted_on_rows=self._rows.labeled,
        )

    def _save(self, predictor: AnyPredictor) -> None:
        """Replaces the saved predictor."""
        path = self._folder.path / PREDICTOR
        shutil.rmtree(path, ignore_errors=True)
        predictor.save(path, command=self._tuning.command)

    def _estimate_of(self, chosen: int, course: Course, estimated: RaceEstimate) -> Estimate:
        """Returns the estimate that is saved with the predictor."""
        corrected = estimated.baseline if chosen == estimated.best_baseline else estimated.winner
        assert corrected is not None
        baselines = {}
        if estimated.baseline is not None and estimated.best_baseline is not None:
            name = self._contest.candidates[estimated.best_baseline].name
            baselines[name] = {self._metric.name: self._bounded(estimated.baseline.estimate)}
        return Estimate(
            task=self._tuning.task.name,
            split=self._tuning.task.spec.split,
            rows=self._scored_rows(chosen, course),
            folds=self._rows.of,
            metrics={self._metric.name: self._bounded(corrected.estimate)},
            baselines=baselines,
            notes=(f"The best of {len(self._contest.candidates)} candidates; the estimate is corrected for this choice",),
            command=self._tuning.command,
        )

    def _out_of_fold(self, number: int, rows: int) -> OutOfFold | None:
        predictions = self._contest.predictions(number, rows)
        if predictions is None or predictions.kind != "labels":
            return None
        return OutOfFold.of_metric_input(predictions, self._tuning.task.labels, folds=self._rows.of)

    def _standing(self, number: int, course: Course) -> Standing:
        """Returns the place of a candidate on the leaderboard."""
        candidate = self._contest.candidates[number]
        drops = [(stage, each) for stage in course.stages for each in stage.dropped if each.candidate == number]
        answered = [stage.rows for stage in course.stages if number in stage.candidates]
        counts = [len(self._rows)] if candidate.prompt is None else answered[::-1]
        scored = [found for count in counts if (found := self._contest.predictions(number, count)) is not None]
        score = metric_estimate(self._metric, scored[0].with_folds(self._rows.folds[: len(scored[0])])) if scored else None
        return Standing(
            name=candidate.name,
            number=number,
            is_baseline=candidate.prompt is None,
            rows=len(scored[0]) if scored else 0,
            score=None if score is None else score.value,
            low=None if score is None else score.low,
            high=None if score is None else score.high,
            tokens=round(candidate.tokens, 1),
            dropped_at=drops[0][0].rows if drops else None,
            reason=drops[0][1].reason if drops else "",
        )

    def _prompt(self, winner: int) -> str:
        """Returns the prompt of the first row; nothing for a baseline or an image."""
        candidate = self._contest.candidates[winner]
        return "" if candidate.prompt is None else self._contest.answers[candidate.prompt].prompt_of_first_row()

    def _untried(self) -> list[str]:
        """Returns a note on the prompts that the budget did not suffice to try."""
        tried = {each.prompt for each in self._contest.candidates} - {None}
        prompts = self._tuning.space.prompts
        names = [each.name for number, each in enumerate(prompts) if number not in tried]
        untried = [f"The budget did not suffice to try {'; '.join(names)}"] if names else []
        return [*untried, *(f"left out: {name}. {reason}" for name, reason in self._challengers.left_out.items())]

    def _scored_rows(self, number: int, course: Course) -> int:
        """Returns the number of rows that the score of a candidate left at the end rests on; baselines predict all rows."""
        return len(self._rows) if self._contest.candidates[number].prompt is None else course.last.rows

    def _answered(self, course: Course) -> int:
        """Returns the number of rows that the last prompts answered."""
        prompts = [each.prompt is not None for each in self._contest.candidates]
        return max(stage.rows for stage in course.stages if any(prompts[each] for each in stage.candidates))

    def _difference(self, estimated: RaceEstimate) -> Figure | None:
        """Returns the winner minus the best baseline; None without baselines, or if one of them is the winner."""
        if estimated.difference is None or estimated.number == estimated.best_baseline:
            return None
        return self._direction.figure(estimated.difference)

    def _bounded(self, interval: Interval) -> Figure:
        """Returns an estimate of the metric, which is within its bounds, also if it was estimated from pseudo-values."""
        figure, (low, high) = self._direction.figure(interval), self._metric.bounds
        return Figure(**{name: min(max(value, low), high) for name, value in figure.model_dump().items()})


def test_score(predictor: AnyPredictor, test: Task, metric: Metric, reader: OutputReader) -> Figure:
    """Returns the score of a predictor on rows that tuning did not use.

    Args:
        predictor: The predictor.
        test: The task with the rows.
        metric: The metric.
        reader: The first aligner, which judges free answers.
    """
    rows = test.rows(test.spec.split)
    if isinstance(predictor, BaselinePredictor):
        predictions = predictions_of(predictor.baseline, predictor.fitted_on_rows, rows, test, reader)
    else:
        with TemporaryDirectory() as out:
            predictions = evaluate(predictor, test, baselines=False, out=out, folds=1, progress=False).results[0].metric_input
    found = metric_estimate(metric, predictions)
    return Figure(value=found.value, low=found.low, high=found.high)
