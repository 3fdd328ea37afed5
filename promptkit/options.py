"""The options of the commands, and the objects of the library that they stand for. Prints nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptkit.errors import InputError, TemplateError

if TYPE_CHECKING:
    from promptkit.manipulate.prompt import Prompt
    from promptkit.manipulations import Change, Learnable, Manipulation
    from promptkit.optimizers import Optimizer
    from promptkit.predictor import Predictor
    from promptkit.recipe import Recipe
    from promptkit.tasks import Task
    from promptkit.types import Model

_log = logging.getLogger(__name__)

TaskName = Annotated[
    str,
    typer.Argument(
        metavar="TASK", help="A name of `promptkit tasks`, a task's YAML file, or a csv, tsv, jsonl or parquet file."
    ),
]
ModelName = Annotated[str, typer.Option("--model", help="[engine:]name: a hub id, folder, .gguf file, demo, or fake.")]
Template = Annotated[
    str | None, typer.Option(help="A template's name, the path of a .j2 file, or its text: '{% block input %}...'.")
]
LabelColumn = Annotated[str | None, typer.Option(help="For a data file: the column of the labels, unless it is `label`.")]
Labels = Annotated[str | None, typer.Option(help="For a data file: its labels in order, a,b,c; else the column's values.")]
AnswerColumn = Annotated[
    str | None, typer.Option(help="For a data file whose answers are texts to be written: the column that holds them.")
]
Calibrate = Annotated[
    str,
    typer.Option(
        help="Alignments besides the plain scores, with commas. Corrections: contextual, domain, batch, batch-fitted, pmi, "
        "prior, proca, temperature, vector, affine. Learned from labelled rows: linear, hidden, prototypical, soft, knn, "
        "automatic; as label maps: blm, blm+, frequency, iterative, random, semantic. With keywords as in "
        "knn:k=3:per_class=16."
    ),
]
Extract = Annotated[
    str | None,
    typer.Option(
        help="How the answer is found in a written text: first_line, final_answer, final_number, option, yes_no, boxed, "
        "json_field:field=answer, pattern:regex=..."
    ),
]
MaxTokens = Annotated[int | None, typer.Option(min=1, help="The most tokens of a written text.")]
Samples = Annotated[int | None, typer.Option(min=1, help="How many texts are drawn for a row, whose majority's answer counts.")]
Temperature = Annotated[
    float | None,
    typer.Option(min=0, help="0 writes the likeliest text; above 0 it is drawn, by --seed; 0.7 for several --samples."),
]
Train = Annotated[Path | None, typer.Option(help="For a data file: where demonstrations come from, else half of it by hash.")]
Instruction = Annotated[str | None, typer.Option(help="Replaces the template's instruction; '' shows none.")]
Chat = Annotated[bool, typer.Option("--chat", help="Use the model's chat template, demonstrations as turns.")]
Shots = Annotated[int, typer.Option(min=0, help="How many demonstrations.")]
Saved = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt",
        metavar="FOLDER",
        help="A folder that promptkit train has made, or a PEFT checkpoint: what was learned changes the prompt. May be "
        "repeated.",
    ),
]
Demos = Annotated[
    str | None,
    typer.Option(
        help="By chance: random, random-each, balanced; by likeness: bm25, similar, mmr, dpp, votek, diverse; by asking the "
        "model: mdl, influence, rerank; for a chain of thought: complex, auto-cot; or zero, first. With keywords as in "
        "similar:balanced=true:budget=500. Unless given, balanced where a task has labels, else random."
    ),
]
Order = Annotated[
    str | None,
    typer.Option(
        help="given, shuffled, nearest-last, nearest-first, interleaved, or by asking the model: globale, locale, mdl. "
        "Unless given, the nearest last where demonstrations are ranked by nearness, else as they were chosen."
    ),
]
Cot = Annotated[str | None, typer.Option(help="Have the model reason before it answers: zero-shot or least-to-most.")]
Seed = Annotated[int, typer.Option(help="Of the demonstrations and their order.")]
ScoreOf = Annotated[
    str,
    typer.Option(
        "--score",
        help="An answer's score: sum over its tokens, mean per token, pmi (the sum less that behind the prompt's end alone) or "
        "channel (the sum over the input's tokens behind the answer, by a template of its own).",
    ),
]
Split = Annotated[str | None, typer.Option(help="The split to read; the task's own choice unless given.")]
Data = Annotated[Path | None, typer.Option(help="Folder of a mirror of data sets; PROMPTKIT_DATA stands in for it.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the engine, such as dtype=bfloat16.")
]
Shard = Annotated[
    str | None, typer.Option(metavar="I/N", help="Every N-th batch of the run, from the I-th; `promptkit merge` joins them.")
]
Out = Annotated[Path, typer.Option(help="The folder that holds run folders.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Ask the model again what it has answered before.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


PMI, CHANNEL = "pmi", "channel"
"""The scores that are a calibration of the sum, and a sum over another text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptOptions:
    """The options that make a `Prompt`."""

    template: str | None
    instruction: str | None
    chat: bool
    shots: int
    demos: str | None
    order: str | None
    seed: int
    cot: str | None = None

    def prompt(self, task: Task, *, channel: bool = False) -> Prompt:
        """The prompt that they describe; the task says which template unless one is given."""
        from promptkit.manipulate.cot import COT
        from promptkit.manipulate.demos import SELECTORS
        from promptkit.manipulate.order import ORDERS
        from promptkit.manipulate.prompt import Prompt
        from promptkit.registry import build, parse

        if self.cot and parse(self.cot)[0] in ("few-shot", "auto", *SELECTORS):
            raise InputError(
                f"--cot {self.cot} is not available: demonstrations with reasoning are selected by --demos",
                code="cot-needs-demos",
                hint="Use --demos auto-cot or --demos complex, or any demonstrations of a task that includes reasoning",
                option="--cot",
                value=self.cot,
            )
        chosen = self.demos or ("balanced" if task.labels else "random")
        return Prompt(
            self.template or (_turned(task) if channel else task.spec.template),
            demos=build("demonstration selector", SELECTORS, chosen, k=self.shots, seed=self.seed),
            order=None if self.order is None else build("order", ORDERS, self.order, seed=self.seed),
            instruction=self.instruction,
            chat=self.chat,
            cot=None if self.cot is None else build("chain of thought", COT, self.cot),
            channel=channel,
        )


def _turned(task: Task) -> str:
    """The template of a task's own, turned for the channel."""
    from promptkit.resources import names

    turned = f"{task.spec.template}_channel"
    if turned not in names("templates", ".j2"):
        raise TemplateError(
            f"The task {task.name} has no channel template, which has its target block before its input block",
            code="no-channel-template",
            hint="Write one, such as templates/sentiment/review_channel.j2, and give it with --template",
            task=task.name,
            template=turned,
        )
    return turned


def task(
    name: str,
    data: Path | None,
    template: str | None,
    label_column: str | None,
    labels: str | None,
    answer_column: str | None,
    train: Path | None,
) -> Task:
    """The task of that name, or of that data file."""
    from promptkit.own import own_task
    from promptkit.readers import is_data
    from promptkit.tasks import load_task

    if is_data(name):
        if data is not None:
            raise InputError(
                f"--data is the folder of a mirror of data sets, which the data file {name} does not use",
                code="option-needs-task",
                got=f"--data {data}",
                hint="Leave out --data",
                option="--data",
                task=name,
            )
        declared = [label.strip() for label in labels.split(",")] if labels else []
        if answer_column is not None and (label_column or labels):
            raise InputError(
                f"The data file {name} can have labels to score or answers to generate, but not both",
                code="conflicting-options",
                hint="Leave out --answer-column, or --label-column and --labels",
                options=("--answer-column", *(["--label-column"] if label_column else []), *(["--labels"] if labels else [])),
            )
        return own_task(
            name, template=template, label_column=label_column, labels=declared, answer_column=answer_column, train=train
        )
    given = {"--label-column": label_column, "--labels": labels, "--answer-column": answer_column, "--train": train}
    foreign = next((option for option, value in given.items() if value is not None), None)
    if foreign is not None:
        raise InputError(
            f"{foreign} applies to data files only, and {name} is a task",
            code="option-needs-data-file",
            hint="Leave it out; the task's YAML file declares its columns, labels and splits",
            option=foreign,
            task=name,
        )
    return load_task(name, data=data)


def count(shots: int | None, saved: Sequence[str] | None) -> int:
    """How many demonstrations: 8, or none where something was learned in their place, unless given."""
    return (0 if saved else 8) if shots is None else shots


def predictors(
    task: Task,
    model: str,
    settings: list[str] | None,
    options: PromptOptions,
    chain: dict[str, Any],
    *,
    split: str | None = None,
    limit: int | None = None,
    calibrate: str = "",
    saved: Sequence[str] = (),
) -> list[Predictor]:
    """The plain predictor, and one for each calibration; `chain` says more of its first aligner.

    What is wrong with the rows or the prompt is found before the model is loaded, by a rehearsal; with what was learned on a
    model, by one with that model's own card.
    """
    from promptkit.evaluation import rehearse
    from promptkit.models.base import load

    told = pairs(settings or [])
    over = branches(task, model, options, chain, calibrate, saved)
    if saved:
        learned_on = over(load(model, **told))
        rehearse(learned_on, task, split=split, limit=limit)
        return learned_on
    rehearse(over(load("fake")), task, split=split, limit=limit)
    return over(load(model, **told))


def branches(
    task: Task, model: str, options: PromptOptions, chain: dict[str, Any], calibrate: str = "", saved: Sequence[str] = ()
) -> Callable[[Model], list[Predictor]]:
    """What makes, of a loaded `model`, the plain predictor, or that which scores by pmi, and one for each calibration."""
    from promptkit.chain import CALIBRATIONS, reading
    from promptkit.composition import check_engine
    from promptkit.manipulate.saved import load_manipulation
    from promptkit.predictor import Predictor
    from promptkit.registry import build

    told = chain.get("score", "sum")
    prompt = options.prompt(task, channel=told == CHANNEL)
    first = reading(task, **(chain | {"score": "sum"} if told in (PMI, CHANNEL) else chain))
    plain = [first, CALIBRATIONS[PMI]()] if told == PMI else first
    calibrations = [build("calibration", CALIBRATIONS, spelling) for spelling in calibrate.split(",") if spelling.strip()]

    changes = [load_manipulation(folder) for folder in saved]
    check_engine(changes, model)
    for folder in saved:
        _compare(folder, prompt)

    def over(loaded: Model) -> list[Predictor]:
        changed: list[Manipulation | Change] = [prompt, *changes]
        return [Predictor(loaded, changed, plain), *(Predictor(loaded, changed, [first, each]) for each in calibrations)]

    return over


def _compare(folder: str, prompt: Prompt) -> None:
    """Say where a prompt is another one than that which was trained behind what is in the folder."""
    from promptkit.manipulate.saved import read_manifest

    manifest = read_manifest(folder)
    trained = manifest.prompt if manifest else {}
    own = json.loads(json.dumps(prompt.settings()))
    differs = [name for name, value in own.items() if name in trained and trained[name] != value]
    if differs:
        _log.warning("The prompt in %s was learned with another %s than is used here.", folder, ", ".join(differs))


def chain(
    score: str, extract: str | None, max_tokens: int | None, samples: int | None, temperature: float | None, seed: int
) -> dict[str, Any]:
    """What the options say of the first aligner; the seed is of texts that are drawn."""
    drawn = temperature or samples
    written = {"max_tokens": max_tokens, "samples": samples, "temperature": temperature, "seed": seed if drawn else None}
    return {"score": score, "extract": extract} | {key: value for key, value in written.items() if value is not None}


def model(name: str, settings: list[str] | None) -> Model:
    """The model of that name with these settings."""
    from promptkit.models.base import load

    return load(name, **pairs(settings or []))


def pairs(settings: list[str]) -> dict[str, object]:
    """KEY=VALUE, each key once."""
    told: dict[str, object] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (key and equals):
            raise InputError(
                "A setting cannot be parsed",
                code="malformed-setting",
                got=f"--set {setting}",
                hint="Write --set KEY=VALUE",
                setting=setting,
            )
        if key in told:
            raise InputError(
                f"The setting {key} is given twice",
                code="duplicate-setting",
                got=f"{told[key]} and {value}",
                hint="Give it once",
                setting=key,
                values=(str(told[key]), value),
            )
        told[key] = value
    return told


def learnables(spellings: Sequence[str], seed: int) -> list[Learnable]:
    """What is learned, as --manipulation spells it; `seed` is of those that draw and are given none."""
    from promptkit.manipulate.saved import LEARNABLE
    from promptkit.registry import build

    return [build("learned manipulation", LEARNABLE, spelling, seed=seed) for spelling in spellings]


def optimizer(spelling: str | None) -> Optimizer | None:
    """What changes it, as --optimizer spells it."""
    from promptkit.recipe import OPTIMIZERS
    from promptkit.registry import build

    return build("optimizer", OPTIMIZERS, spelling) if spelling else None


def trainable(
    task: Task,
    model: str,
    settings: list[str] | None,
    options: PromptOptions,
    changes: Sequence[Learnable],
    recipe: Recipe,
    split: str | None,
) -> Predictor:
    """The predictor that is trained; what is wrong with the rows or the prompt is found before the model is loaded."""
    from promptkit.chain import reading
    from promptkit.composition import check_engine
    from promptkit.evaluation import rehearse
    from promptkit.models.base import load
    from promptkit.predictor import Predictor
    from promptkit.training import check

    told = pairs(settings or [])
    check_engine(changes, model)
    prompt, first = options.prompt(task), reading(task)
    shown = [change for change in changes if change.kind.location != "hidden"]  # what is within the layers shows no mistake
    stand_in = Predictor(load("fake"), [prompt, *shown], first)
    check(stand_in, task, split=split, recipe=recipe)
    rehearse([stand_in], task, split=split)
    return Predictor(load(model, **told), [prompt, *changes], first)


def eval_words(context: typer.Context, without: frozenset[str]) -> list[str]:
    """The command that evaluates what another was given, `without` what `promptkit eval` is not told."""
    words = ["promptkit", "eval", str(context.params["task"])]
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        if parameter.name in without or (value == parameter.default and parameter.name != "shots"):
            continue
        for each in value if isinstance(value, (list, tuple)) else (value,):
            words += [parameter.opts[0]] if each is True else [parameter.opts[0], str(each)]
    return words
