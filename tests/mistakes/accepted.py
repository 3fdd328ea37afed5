"""The wrong values that are not wrong for each parameter."""

from __future__ import annotations

import math
from typing import Any

from tests.mistakes.calls import WRONG

TEXT_OPTIONS = ("task", "model", "template", "instruction", "thinking", "demos", "order", "split")
"""Options whose names are checked when the configuration is built, because the tables of names are slow to import."""
OPTIONAL = ("template", "instruction", "thinking", "demos", "order", "split")
ACCEPTED: dict[str, list[Any]] = {
    **{
        f"{config}.{option}": ["x", "", None] if option in OPTIONAL else ["x", ""]
        for config in ("EvalConfig", "TrainConfig", "StudyConfig", "TuneConfig")
        for option in TEXT_OPTIONS
    },
    **{
        f"{config}.{option}": values
        for config in ("EvalConfig", "TrainConfig")
        for option, values in {
            "set": [[], None, {}],
            "shots": [5, None],
            "chat": [True],
            "thinking": [True, "x", "", None],
            "manipulation": ["x", "", [], None],
            "per_class": [5, None],
        }.items()
    },
    "report.text": [True],
    "rerun.out": ["x", "", None],
    "tune.metric": ["", None],
    "baselines.metrics": ["", [], None],
    "TrainConfig.metric": ["x", "", []],
    "train.metrics": ["", [], None],
    "tune.max_requests": [None],
    "tune.limit": [None],
    "TuneConfig.model": ["x", "", [], None],
    "TuneConfig.space": ["x", ""],
    "EvalConfig.calibrate": ["x", "", []],
    "EvalConfig.labelmap": ["x", "", []],
    "EvalConfig.samples": [5, None],
    "EvalConfig.max_tokens": [5, None],
    "EvalConfig.prompt": ["x", "", [], None],
    "TrainConfig.labelmap": ["x", "", None],
    "TrainConfig.steps": [5],
    "TrainConfig.batch_size": [5],
    "TrainConfig.dev": [5],
    "TrainConfig.learning_rate": [5, None, -1, math.nan],  # the optimizer, which may be another one, checks the range
    "StudyConfig.baselines": [[], None],
    "StudyConfig.task": ["x"],
    "Study.compare.on": [None],
    "load_module.size": [5],
    "load_module.name": ["x", ""],
    "load_module.batch_size": [5, None],
    "baselines.model": [None],
    "Classes.classes": [None],
    "convert.model": [None],
    "Study.baselines.model": [None],
    "split": [None],
    "Task.rows.split": [],
    "OutOfFold.folds": [5],
    "Drift.counts": [None, {}],
    **{f"PredictConfig.{option}": ["x", ""] for option in ("predictor", "data", "prefix")},
    **{f"PredictConfig.{option}": [None] for option in ("threshold", "risk", "sets")},
    "PredictConfig.model": ["x", "", None],
    "limit": [5, None],
    "out": ["x", ""],
    "convert.out": [],
    "merge.out": ["x", "", None],
    "cache": [True],
    "progress": [None],
    "extract_steering_vector.layer": [5, -1],  # the model has a single layer, so that no layer is in range
    "extract_steering_vector.strength": [5, -1],
    "extract_steering_vector.rows": [5],
    "extract_steering_vector.split": ["x", "", None],
    "head_effects.rows": [5],  # the model has no heads, which is noticed first
    "head_effects.patched": [5],
    "head_effects.split": ["x", "", None],
    "seed": [5, -1],
    "batch_tokens": [5],
    "image_task.name": ["x", ""],
    "image_task.classes": [None],
    "learning_curve.draws": [5],
    "learning_curve.task": [None],
    "view_images.n": [5],
    "Prompt.demos": [[]],
    **{f"Prompt.{option}": [None] for option in ("order", "cot")},
    "Prompt.instruction": ["x", "", None],
    "Prompt.chat": [True],
    "Prompt.channel": [True],
    "save_manipulation.folder": ["x", ""],
    "save_manipulation.metadata": [None, {}],
    "search.method": [None],
    "search.candidates": [5],
    **{f"search.{option}": [5, None] for option in ("dev", "test")},
    "Shard.of": [5],
    "study.k": [value for value in WRONG if value != []],
    **{"task.name": ["x", "", None], "task.label": ["", None], "task.inputs": [[]], "task.labels": [[]]},
    **{f"task.{option}": [None] for option in ("template", "train", "answer", "schema", "id", "data")},
    "Template.name": ["x", ""],
    "train.steps": [5],
    "train.batch_size": [5],
    "train.dev": [5],
    "HeadEffects.steering_vector.strength": [5, -1],
    "heads": [],
    "up_to": [5, None],
    "Study.table.rows": [[], None],
    "columns": [None],
    "metric": [None],
    "Study.table.baselines": [None],
    "Study.best.over": [[]],
    "Study.compare.by": [[]],
    "items": [True],
    "Template.slots.without": ["x", ""],
    "keywords": [{}],
    "instructions.joined.statements": ["x", ""],
    "answers": [[]],
    "vote.vote_accuracy.accepted": [[]],
}
"""Parameter, with the function or without -> the values of `WRONG` that are not wrong for it."""
