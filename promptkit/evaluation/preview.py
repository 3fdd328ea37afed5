"""What `promptkit render` shows of a row: the exact prompt by parts, its tokens, and what is likely wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from promptkit.core.examples import Example
from promptkit.core.inputs import Piece
from promptkit.core.model import Card
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Generate, Verb
from promptkit.evaluation import lint
from promptkit.inputs.text.encoding import SLOT_PART
from promptkit.manipulate.learned.placement import TOKENS_PART
from promptkit.models.cache import ScoreCache
from promptkit.predictor.predictor import Predictor
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.task import Task

_COLOURS = {
    "instruction": "magenta",
    "demonstration": "cyan",
    "query": "green",
    "reasoning": "blue",
    "soft": "yellow",
    "tokens": "yellow",
    "separator": "default",
    "frame": "bright_black",
}
_TARGET_COLOUR = "yellow"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One rendered row."""

    example: Example
    rendered: Rendered
    verb: Verb
    card: Card
    warnings: Sequence[str]

    @property
    def bos(self) -> int:
        """How many BOS tokens the prompt holds."""
        return sum(token in self.card.tokenizer.bos for token in self.rendered.input.ids)

    @property
    def learned(self) -> list[str]:
        """What of the prompt was learned, and where it stands."""
        prompt = self.rendered.input
        among = [span for span in prompt.spans if span.part.split()[0] in (SLOT_PART, TOKENS_PART)]
        return [
            *(f"{span.stop - span.start} of {span.part} from token {span.start + 1} on" for span in among),
            *(f"a prefix of {prefix.length} before it in {len(prefix.layers)} layers" for prefix in prompt.prefixes),
            *([f"{len(prompt.edits)} changes of hidden states"] if prompt.edits else []),
        ]

    def to_json(self) -> dict[str, object]:
        """What `promptkit render --json` prints of a row."""
        rendered = self.rendered
        return {
            "id": self.example.id,
            "prompt": "".join(_shown(piece) for piece in rendered.pieces),
            "pieces": [
                {"part": p.part, "text": p.text, "control": p.control, **({"learned": p.learned} if p.learned else {})}
                for p in rendered.pieces
            ],
            "targets": list(rendered.targets),
            **({"generate": asdict(self.verb)} if isinstance(self.verb, Generate) else {}),
            "ids": list(rendered.input.ids),
            "spans": [{"part": s.part, "start": s.start, "stop": s.stop} for s in rendered.input.spans],
            "continuations": [list(ids) for ids in rendered.continuations],
            "tokens": len(rendered.input.ids),
            "learned": self.learned,
            "bos": self.bos,
            "boundary": rendered.rescored_tokens,
            "demos": list(rendered.demos),
            "dropped": list(rendered.dropped),
            "warnings": list(self.warnings),
        }


def views(predictor: Predictor, task: Task, *, split: str, n: int) -> list[View]:
    """The first `n` rows of a run over the split."""
    bound = predictor.bind(task, cache=ScoreCache())
    rows = task.rows(split)
    tested = {row.id for row in rows}
    chat = bool(predictor.manipulate.settings().get("chat"))
    card = predictor.model.card
    shown = []
    examples = [row.unlabeled() for row in by_hash(rows, n)]
    for example, rendered in zip(examples, bound.apply(examples), strict=True):
        found = lint.warnings(rendered, card, tested=tested, chat=chat)
        verb = bound.request(example, rendered).verb
        shown.append(View(example=example, rendered=rendered, verb=verb, card=card, warnings=found))
    return shown


def show(view: View, *, tokens: bool) -> None:
    """Print a row: nothing is added to the prompt's text, so that what stands between the rules is the prompt."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    rendered = view.rendered
    console.rule(f"row {view.example.id}")
    prompt = Text()
    for piece in rendered.pieces:
        prompt.append(_visible(_shown(piece)), style="reverse" if piece.control else _COLOURS[piece.part.split()[0]])
    console.print(prompt)
    counts = f"{len(rendered.input.ids)} tokens, {view.bos} BOS, {len(rendered.demos)} demonstrations"
    if isinstance(view.verb, Generate):
        console.rule("text to be written")
        stops = ", ".join(map(repr, view.verb.stop)) or "nothing but the model's own end token"
        texts = f"{view.verb.n} texts at temperature {view.verb.temperature:g}, each of " if view.verb.n > 1 else ""
        console.print(Text(f"{texts}at most {view.verb.max_tokens} tokens, ended by {stops}", style=_TARGET_COLOUR))
        console.print(counts)
    else:
        console.rule("answers scored")
        console.print(Text(" | ").join(Text(repr(target), style=_TARGET_COLOUR) for target in rendered.targets))
        console.print(f"{counts}, {sum(map(len, rendered.continuations))} answer tokens")
    if tokens:
        _show_tokens(console, view)
    if view.learned:
        console.print(f"learned: {', '.join(view.learned)}", markup=False)
    for warning in view.warnings:
        console.print(f"warning: {warning}", style="bold red", markup=False)


def _shown(piece: Piece) -> str:
    """The text of a piece, or what stands in its place."""
    return f"[{piece.text}: {piece.learned} vectors]" if piece.learned else piece.text


def _visible(text: str) -> str:
    """Control characters by their escapes: a terminal would act on them, and not show them."""
    return "".join(c if c == "\n" or c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)


def _show_tokens(console: object, view: View) -> None:
    from rich.console import Console
    from rich.text import Text

    assert isinstance(console, Console)
    name = view.card.tokenizer.name
    for span in view.rendered.input.spans:
        line = Text(f"{span.part}: ", style="bold")
        for token in view.rendered.input.ids[span.start : span.stop]:
            line.append(f"{token}", style=_COLOURS[span.part.split()[0]])
            line.append(f" {name(token)!r}  " if token >= 0 else "  ", style="bright_black")
        console.print(line)
    for target, ids in zip(view.rendered.targets, view.rendered.continuations, strict=True):
        console.print(Text(f"{target!r}: {' '.join(map(str, ids))}", style=_TARGET_COLOUR))
