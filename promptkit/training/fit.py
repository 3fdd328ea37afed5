"""What has come of a training: the predictor with what it has learned, and how it went. Knows nothing of how it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from promptkit.core.manipulation import Learnable
from promptkit.core.paths import expanded
from promptkit.manipulate.compose import Composed
from promptkit.manipulate.learned.storage import check_free, save
from promptkit.manipulate.learned.trigger_tokens import TriggerTokens, ids_of, spelt
from promptkit.predictor.predictor import Predictor
from promptkit.training.checkpoint import DevEvaluation
from promptkit.training.recipe import TrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """A finished training."""

    predictor: Predictor
    """With what was learned, of the step that did best on dev."""
    learned: tuple[Learnable, ...]
    """What was learned."""
    trainable: int
    """How many numbers were trained; of a reparameterized soft prompt those of its network too, which are not kept."""
    task: str
    recipe: TrainingConfig
    rates: tuple[float | None, ...]
    """Of each that was learned, the learning rate at its highest; None where the optimizer has none."""
    losses: tuple[float, ...]
    """The mean loss of each step's rows, before the step."""
    looks: tuple[DevEvaluation, ...]
    """How good it was on dev, from before the first step on."""
    chosen: DevEvaluation
    """The best of them."""
    ended: str
    """Why it has ended."""
    rows: Mapping[str, int]
    """How many rows of each part it saw."""
    notes: tuple[str, ...]
    """What a reader of the figures should know."""
    evaluations: Mapping[str, int]
    """How many rows the model computed: for `steps`, a row once for each candidate, and for looks at `dev`."""
    resumed: int
    """How many steps had been made before this call."""
    seconds: float
    """Of all calls that made it, loading included."""
    path: Path
    """The folder of the training, in which what was learned is saved."""

    def save(self, folder: str | Path) -> Path:
        """Write what was learned into a folder, for `load_manipulation` and --prompt; several each into one of their own."""
        whole = self.predictor.manipulate
        prompt = whole.prompt.settings() if isinstance(whole, Composed) else {}
        told = {"task": self.task, "prompt": dict(prompt), "metrics": {"dev": asdict(self.chosen)}}
        places = self._places(expanded(folder))
        check_free(expanded(folder), places)
        for each, rate, path in zip(self.learned, self.rates, places, strict=True):
            recipe = {**self.recipe.settings(), "learning_rate": rate}
            save(each, path, told={**told, "recipe": recipe, **self._spelt(each)})
        return expanded(folder)

    def _spelt(self, learned: Learnable) -> dict[str, object]:
        """Of discrete tokens, how they are spelt."""
        tokenizer = self.predictor.model.card.tokenizer
        return spelt(ids_of(learned.parameters), tokenizer) if isinstance(learned, TriggerTokens) else {}

    @property
    def saved(self) -> list[str]:
        """The folders that --prompt is given."""
        return [*map(str, self._places(self.path))]

    def _places(self, folder: Path) -> list[Path]:
        several = [folder / f"{number}-{each.name}" for number, each in enumerate(self.learned, start=1)]
        return [folder] if len(self.learned) == 1 else several

    def to_json(self) -> dict[str, object]:
        """What `promptkit train --json` prints."""
        return {
            "task": self.task,
            "model": self.predictor.model.name,
            "learned": [{**each.settings(), **self._spelt(each)} for each in self.learned],
            "optimizer": self.recipe.settings()["optimizer"],
            "trainable": self.trainable,
            "rows": dict(self.rows),
            "notes": list(self.notes),
            "evaluations": dict(self.evaluations),
            "steps": len(self.losses),
            "losses": list(self.losses),
            "looks": [asdict(look) for look in self.looks],
            "chosen": asdict(self.chosen),
            "ended": self.ended,
            "resumed": self.resumed,
            "seconds": round(self.seconds, 3),
            "path": str(self.path),
        }

    def __str__(self) -> str:
        """In a few lines."""
        is_written = self.chosen.accuracy is None
        before, after = (
            f"{x.loss:.3f}" if x.accuracy is None else f"{x.accuracy:.3f} (loss {x.loss:.3f})"
            for x in (self.looks[0], self.chosen)
        )
        what = "tokens searched" if isinstance(self.learned[0], TriggerTokens) else "numbers trained"
        notes = "".join(f"\nnote: {note}" for note in self.notes)
        found = [f"found tokens: {self._spelt(each)['tokens']}\n" for each in self.learned if self._spelt(each)]
        return (
            f"{self.task} · {self.predictor.model.name} · {self.trainable} {what} on {self.rows['pool']} rows\n"
            f"dev {'loss' if is_written else 'accuracy'} on {self.rows['dev']} rows: {before} before, "
            f"{after} after {self.chosen.step} steps\n"
            f"{''.join(found)}"
            f"{len(self.losses)} steps of {self.evaluations.get('steps', 0)} rows in all, as {self.ended}; "
            f"{self.seconds:.1f} s, {self.path}{notes}"
        )

    __repr__ = __str__
