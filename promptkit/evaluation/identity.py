"""The identity of a run: the settings that determine its results, after which its folder is named."""

from __future__ import annotations

import json

from promptkit.collect.requirements import fit_part, rows_affecting_results
from promptkit.core.examples import rows_hash
from promptkit.core.hashing import short_hash
from promptkit.core.version import __version__
from promptkit.evaluation.plan import RunPlan
from promptkit.models.registry import load
from promptkit.runs.schema import RunSettings


def run_settings(plan: RunPlan) -> RunSettings:
    """Returns everything that determines the results of a run. Runs with equal settings share a folder."""
    task, manipulation = plan.task, plan.predictor.manipulate
    models = dict.fromkeys([*manipulation.models, *(name for need in plan.needs for name in need.models)])
    settings: RunSettings = {
        "promptkit": __version__,
        "task": dict(task.identity()),
        "split": plan.split,
        "limit": plan.limit,
        "rows": rows_hash(plan.rows),
        "parts": {part: rows_hash(row for fold in plan.folds for row in fold.task.part(part)) for part in manipulation.parts},
        "fit": rows_hash(
            row for fold in plan.folds for row in rows_affecting_results(plan.needs, fit_part(fold.fit, fold.split))
        ),
        "model": dict(plan.model.identity()),
        "models": {name: dict(load(name).identity()) for name in models},
        "manipulate": dict(manipulation.settings()),
        "align": [chain.settings() for chain in plan.chains],
    }
    own_ids = [row.row_id for row in plan.rows]
    if any(own_id is not None for own_id in own_ids):
        settings["row_ids"] = short_hash(json.dumps(own_ids))
    if plan.of:
        settings["folds"] = plan.of
    return settings
