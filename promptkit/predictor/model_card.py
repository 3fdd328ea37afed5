"""The model card of a saved predictor: what it is, how good it is, how it was made, and what it cannot do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from pydantic import JsonValue

from promptkit.core.version import __version__
from promptkit.predictor.estimate import Estimate, Figure
from promptkit.predictor.saved_format import ROWS, SavedFixed, SavedLearned, SavedPredictor, SavedPrompt

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
"""A name that can be a model on the Hugging Face hub."""
MOST_LABELS = 20
"""Number of labels that the card lists."""


def model_card(saved: SavedPredictor) -> str:
    """Returns the model card as Markdown, with metadata for the Hugging Face hub."""
    blocks = [_metadata(saved), _title(saved), _usage(saved), _quality(saved.estimate), _contents(saved), _limits(saved)]
    return "\n\n".join(block for block in blocks if block) + "\n"


# ---- metadata ------------------------------------------------------------------------------------------


def _metadata(saved: SavedPredictor) -> str:
    entries: dict[str, JsonValue] = {"library_name": "promptkit", "tags": ["promptkit", "frozen-model"]}
    entries["pipeline_tag"] = _pipeline(saved)
    name = saved.model.name.partition(":")[2] or saved.model.name
    if HUB_ID.fullmatch(name):
        entries["base_model"] = name
    if saved.estimate is not None:
        entries["model-index"] = [_index(saved, saved.estimate)]
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in entries.items()]  # JSON is YAML
    return "\n".join(["---", *lines, "---"])


def _pipeline(saved: SavedPredictor) -> str:
    if saved.columns.modality == "image":
        return "image-classification"
    return "text-classification" if saved.labels else "text-generation"


def _index(saved: SavedPredictor, estimate: Estimate) -> JsonValue:
    metrics: list[JsonValue] = [
        {"type": name, "value": figure.value, "name": f"{name}, 95% interval {figure.low:.3f} to {figure.high:.3f}"}
        for name, figure in estimate.metrics.items()
    ]
    dataset: JsonValue = {"name": estimate.task, "type": estimate.task, "split": estimate.split}
    task: JsonValue = {"type": _pipeline(saved)}
    return {"name": f"{estimate.task} predictor", "results": [{"task": task, "dataset": dataset, "metrics": metrics}]}


# ---- text ------------------------------------------------------------------------------------------------


def _title(saved: SavedPredictor) -> str:
    task = saved.estimate.task if saved.estimate else "A"
    labels = ", ".join(saved.labels[:MOST_LABELS]) + (", ..." if len(saved.labels) > MOST_LABELS else "")
    reads = ", ".join(f"`{name}`" for name in saved.columns.names)
    how_many = "any number" if saved.multi_label else "one"
    answer = f"predicts {how_many} of {len(saved.labels)} labels ({labels})" if saved.labels else "answers rows"
    return (
        f"# {task} predictor\n\nA predictor of promptkit that {answer} from the columns {reads}. "
        f"It repurposes the frozen model `{saved.model.name}`, whose weights are unchanged and not contained here."
    )


def _usage(saved: SavedPredictor) -> str:
    row = ", ".join(f'"{name}": "..."' for name in saved.columns.names)
    return (
        "## Use\n\n```\npromptkit predict FOLDER new.csv -o predictions.csv\n```\n\n```python\nimport promptkit as pk\n\n"
        f'predictor = pk.Predictor.load("FOLDER")  # or "hf://USER/NAME"\nprint(predictor.predict([{{{row}}}])[0])\n```'
    )


def _quality(estimate: Estimate | None) -> str:
    if estimate is None:
        return (
            "## Quality\n\nIt was not evaluated when it was saved. Evaluate it with `promptkit eval TASK --predictor FOLDER`."
        )
    how = (
        f"by {estimate.folds} folds: each row was predicted by a predictor that was fitted on the other folds; "
        "the saved one was fitted on all of them, and the intervals contain the variance between these predictors"
        if estimate.folds
        else "that it was not fitted on"
    )
    names = [*estimate.metrics]
    rows = [("this predictor", estimate.metrics), *estimate.baselines.items()]
    table = [_row("", names), _row("---", ["---"] * len(names)), *(_row(name, _cells(of, names)) for name, of in rows)]
    baselines = " Baselines do without a pretrained model and use the same training rows." if estimate.baselines else ""
    notes = [f"- {note}" for note in estimate.notes]
    return "\n".join(
        [
            "## Quality",
            "",
            f"On {estimate.rows} labeled rows of {estimate.task} ({estimate.split}) {how}. Intervals are at 95%.{baselines}",
            "",
            *table,
            *(["", *notes] if notes else []),
        ]
    )


def _row(name: str, cells: list[str]) -> str:
    return f"| {' | '.join([name, *cells])} |"


def _cells(metrics: dict[str, Figure], names: list[str]) -> list[str]:
    return [_figure(metrics[name]) if name in metrics else "" for name in names]


def _figure(figure: Figure) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _contents(saved: SavedPredictor) -> str:
    made = f"\n\nIt was made by:\n\n```\n{saved.command}\n```" if saved.command else ""
    return "\n".join(["## Contents", "", *(f"- {line}" for line in _stages(saved))]) + made


def _stages(saved: SavedPredictor) -> Iterator[str]:
    yield f"model: `{saved.model.name}`, content `{str(saved.model.base.get('content', ''))[:40]}`"
    if isinstance(saved.first, SavedPrompt):
        rows = sum(saved.first.rows.values())
        yield f"prompt: template `{saved.first.template_name}`; demonstrations: {saved.first.demos['name']}, from {rows} rows"
    for modifier in saved.modifiers:
        match modifier:
            case SavedLearned():
                yield f"learned manipulation: `{modifier.folder}`"
            case SavedFixed():
                yield f"manipulation: {json.dumps(modifier.settings)}"
    for settings in saved.aligners:
        yield f"aligner: {json.dumps(settings, ensure_ascii=False)}"
    yield f"promptkit {__version__}"


def _limits(saved: SavedPredictor) -> str:
    return "\n".join(["## Limits", "", *(f"- {line}" for line in _limitations(saved))])


def _limitations(saved: SavedPredictor) -> Iterator[str]:
    yield "It needs the same model: another model or tokenizer is refused when it is loaded."
    yield "Its figures hold for rows like those it was evaluated on; other sources, languages or times may differ."
    if saved.estimate is None or not saved.labels:
        yield "Its probabilities were not checked against labeled rows."
    if saved.withheld:
        yield (
            f"The rows in `{ROWS}` were left out when it was published, and it does not predict without them: load it with "
            f"`pk.Predictor.load(..., demonstrations=FILE)`. The hash of that file is in `predictor.json`."
        )
    elif isinstance(saved.first, SavedPrompt) and any(saved.first.rows.values()):
        yield f"`{ROWS}` contains labeled rows, which are sent to the model with every row."
