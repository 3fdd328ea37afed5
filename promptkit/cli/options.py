"""The options of the commands, and the objects of the library that they stand for. Prints nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

INTERRUPTED = 130
"""The exit code of a command stopped by Ctrl-C."""


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
        "prior, proca, temperature, vector, affine. Learned from labeled rows: linear, hidden, prototypical, soft, knn, "
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
        help="given, shuffled, nearest-last, nearest-first, interleaved, or by asking the model: globale, locale, least-entropy. "
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
