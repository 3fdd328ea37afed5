"""Shows rendered prompts: their parts, their tokens, and likely mistakes. Implements `promptkit render`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from promptkit.core.examples import Example, LabeledExample
from promptkit.core.inputs import Piece
from promptkit.core.model import TextCard, text_card
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Generate, Verb
from promptkit.evaluation.checks import seen_rows
from promptkit.evaluation.image_preview import ImageView
from promptkit.evaluation.lint import PromptWarning, prompt_warnings
from promptkit.inputs.text.encoding import SLOT_PART
from promptkit.manipulate.learned.placement import TOKENS_PART
from promptkit.models.cache import ScoreCache
from promptkit.predictor.bound import BoundPredictor
from promptkit.predictor.predictor import Predictor
from promptkit.tasks.single_table import EvaluatedRows, evaluated_rows, rows_of_run
from promptkit.tasks.task import Task

if TYPE_CHECKING:
    from rich.console import Console

_COLORS = {
    "instruction": "magenta",
    "demonstration": "cyan",
    "query": "green",
    "reasoning": "blue",
    "target": "yellow",
    "soft": "yellow",
    "tokens": "yellow",
    "separator": "default",
    "frame": "bright_black",
}
_TARGET_COLOR = "yellow"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One rendered row and its likely mistakes."""

    example: Example
    rendered: Rendered
    verb: Verb
    """The request that is sent with the prompt."""
    card: TextCard
    warnings: Sequence[PromptWarning]

    @property
    def bos(self) -> int:
        """Number of BOS tokens in the prompt."""
        return sum(token in self.card.tokenizer.bos for token in self.rendered.text.ids)

    @property
    def learned(self) -> list[str]:
        """Descriptions of the learned parts of the prompt, with their positions."""
        interventions = self.rendered.interventions
        spans = [span for span in self.rendered.text.spans if span.part.split()[0] in (SLOT_PART, TOKENS_PART)]
        return [
            *(f"{span.stop - span.start} of {span.part} from token {span.start + 1} on" for span in spans),
            *(f"prefix of {prefix.length} in {len(prefix.layers)} layers" for prefix in interventions.prefixes),
            *([f"{len(interventions.edits)} hidden-state edits"] if interventions.edits else []),
        ]

    def to_json(self) -> dict[str, object]:
        """Returns what `promptkit render --json` prints for a row."""
        rendered = self.rendered
        return {
            "id": self.example.id,
            "prompt": "".join(_piece_text(piece) for piece in rendered.pieces),
            "pieces": [
                {"part": p.part, "text": p.text, "control": p.control, **({"learned": p.learned} if p.learned else {})}
                for p in rendered.pieces
            ],
            "targets": list(rendered.targets),
            **({"generate": asdict(self.verb)} if isinstance(self.verb, Generate) else {}),
            "ids": list(rendered.text.ids),
            "spans": [{"part": s.part, "start": s.start, "stop": s.stop} for s in rendered.text.spans],
            "continuations": [list(ids) for ids in rendered.continuations],
            "tokens": len(rendered.text.ids),
            "learned": self.learned,
            "bos": self.bos,
            "boundary": rendered.rescored_tokens,
            "demos": list(rendered.demos),
            "dropped": list(rendered.dropped),
            "skipped": rendered.skipped,
            "warnings": [str(warning) for warning in self.warnings],
        }

    def show(self, *, tokens: bool) -> None:
        """Prints the row. The text between the first two rules is exactly the prompt.

        Args:
            tokens: Whether to print token ids.
        """
        from rich.console import Console
        from rich.text import Text

        console = Console(highlight=False, soft_wrap=True)
        console.rule(f"row {self.example.id}")
        prompt = Text()
        for piece in self.rendered.pieces:
            style = "reverse" if piece.control else _COLORS[piece.part.split()[0]]
            prompt.append(_escaped(_piece_text(piece)), style=style)
        console.print(prompt)
        if isinstance(self.verb, Generate):
            _show_generation(console, self, self.verb)
        else:
            _show_answers(console, self)
        if tokens:
            _show_tokens(console, self)
        if self.learned:
            console.print(f"learned: {', '.join(self.learned)}", markup=False)
        for warning in self.warnings:
            console.print(f"warning: {warning}", style="bold red", markup=False)


def views(predictor: Predictor, task: Task, *, split: str, n: int, folds: int | None = None) -> Sequence[View | ImageView]:
    """Renders the first rows of a run.

    Args:
        predictor: The predictor.
        task: The task.
        split: The evaluated split.
        n: Number of rows.
        folds: Number of folds of the run, as for `evaluate`.
    """
    by_fold = evaluated_rows(task, split, folds=folds, limit=n, parts=predictor.manipulate.parts)
    shown = {view.example.id: view for fold in by_fold for view in _fold_views(predictor, fold, split)}
    return [shown[row.id] for row in rows_of_run(by_fold)]


def _fold_views(predictor: Predictor, fold: EvaluatedRows, split: str) -> Sequence[View | ImageView]:
    """Renders rows of one fold, or of a run without folds."""
    bound = predictor.bind(fold.task, cache=ScoreCache())
    if fold.task.spec.modality == "image":
        return _image_views(bound, fold.rows)
    evaluated = {row.id for row in fold.task.rows(split)}
    chat = bool(predictor.manipulate.settings().get("chat"))
    card = text_card(predictor.model.card)
    seen = seen_rows([predictor], fold.task, fold.rows, allowed=True)
    examples = [row.unlabeled() for row in fold.rows]
    return [
        View(
            example=example,
            rendered=rendered,
            verb=bound.request(example, rendered).verb,
            card=card,
            warnings=prompt_warnings(rendered, card, evaluated=evaluated, chat=chat, seen=example.id in seen),
        )
        for example, rendered in zip(examples, bound.encode(examples), strict=True)
    ]


def _image_views(bound: BoundPredictor, rows: Sequence[LabeledExample]) -> list[ImageView]:
    examples = [row.unlabeled() for row in rows]
    return [
        ImageView(example=row, rendered=rendered, verb=type(bound.request(example, rendered).verb).__name__)
        for row, example, rendered in zip(rows, examples, bound.encode(examples), strict=True)
    ]


def _counts(view: View) -> str:
    return f"{len(view.rendered.text.ids)} tokens, {view.bos} BOS, {len(view.rendered.demos)} demonstrations"


def _show_generation(console: Console, view: View, verb: Generate) -> None:
    from rich.text import Text

    console.rule("generation")
    stops = ", ".join(map(repr, verb.stop))
    stop = f"stop strings {stops}" if stops else "no stop string"
    texts = f"{verb.n} texts at temperature {verb.temperature:g}, each of " if verb.n > 1 else ""
    console.print(Text(f"{texts}at most {verb.max_tokens} tokens, {stop}", style=_TARGET_COLOR))
    console.print(_counts(view))


def _show_answers(console: Console, view: View) -> None:
    from rich.text import Text

    console.rule("answers scored")
    console.print(Text(" | ").join(Text(repr(target), style=_TARGET_COLOR) for target in view.rendered.targets))
    console.print(f"{_counts(view)}, {sum(map(len, view.rendered.continuations))} answer tokens")


def _piece_text(piece: Piece) -> str:
    """The text of a piece, or a description of its learned vectors."""
    return f"[{piece.text}: {piece.learned} vectors]" if piece.learned else piece.text


def _escaped(text: str) -> str:
    """The text with control characters escaped, since a terminal would interpret them."""
    return "".join(c if c == "\n" or c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)


def _show_tokens(console: Console, view: View) -> None:
    from rich.text import Text

    name = view.card.tokenizer.name
    for span in view.rendered.text.spans:
        line = Text(f"{span.part}: ", style="bold")
        for token in view.rendered.text.ids[span.start : span.stop]:
            line.append(f"{token}", style=_COLORS[span.part.split()[0]])
            line.append(f" {name(token)!r}  " if token >= 0 else "  ", style="bright_black")
        console.print(line)
    for target, ids in zip(view.rendered.targets, view.rendered.continuations, strict=True):
        console.print(Text(f"{target!r}: {' '.join(map(str, ids))}", style=_TARGET_COLOR))
