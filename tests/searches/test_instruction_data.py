"""Instruction searches read only the labels that each of their stages may use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

import promptkit as pk
from promptkit.core.errors import TaskError
from promptkit.core.examples import LabeledExample
from promptkit.searches import instructions as searching
from tests.support.errors import refused
from tests.support.obedient import ROWS, search, standings

pytestmark = pytest.mark.usefixtures("search_folder")


class RecordingExample(LabeledExample):
    """Records each access to its answer."""

    read: ClassVar[list[tuple[str, str]]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("label", "accepted"):
            part = object.__getattribute__(self, "rationale")["part"]
            RecordingExample.read.append((part, object.__getattribute__(self, "id")))
        return super().__getattribute__(name)


@pytest.mark.parametrize("kind", ["labels", "texts"])
def test_each_stage_reads_only_the_labels_of_its_part(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def spied(row: LabeledExample, part: str) -> LabeledExample:
        return RecordingExample(id=row.id, inputs=row.inputs, label=row.label, accepted=row.accepted, rationale={"part": part})

    full = pk.Task
    part, rows, compare, propose = full.part, full.rows, searching.compare, searching._proposer
    monkeypatch.setattr(full, "part", lambda self, name: [spied(row, name) for row in part(self, name)])
    monkeypatch.setattr(full, "rows", lambda self, split: [spied(row, split) for row in rows(self, split)])
    seen: dict[str, set[str]] = {}

    def until(stage: str) -> None:
        seen[stage] = {part for part, _ in RecordingExample.read}
        RecordingExample.read.clear()

    def proposing(*args: Any) -> Any:
        until("before")
        result = propose(*args)
        until("pairs")
        return result

    def comparing(*args: Any, **options: Any) -> Any:
        until("choice")
        result = compare(*args, **options)
        until("confirmation")
        return result

    monkeypatch.setattr(searching, "_proposer", proposing)
    monkeypatch.setattr(searching, "compare", comparing)
    RecordingExample.read.clear()
    search(kind, method="opro")
    assert seen == {"before": set(), "pairs": {"pool"}, "choice": {"dev"}, "confirmation": {"test"}}


@pytest.mark.parametrize("method", ["ape", "opro"])
def test_test_labels_change_only_the_confirmation(method: Any) -> None:
    before = search(method=method)
    flipped = [{**row, "label": {"no": "yes", "yes": "no"}[str(row["label"])]} for row in ROWS[300:]]
    Path("test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in flipped), "utf-8")
    after = search(method=method)
    assert standings(after) == standings(before)
    assert after.held_out.value == pytest.approx(1 - before.held_out.value)


def test_rows_of_the_evaluated_split_are_not_used_before_the_confirmation() -> None:
    shared = pk.task("labels.yaml").part("dev")[:20]
    kept = [{"text": row.inputs["text"], "label": row.label} for row in shared]
    Path("test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*ROWS[300:], *kept]), "utf-8")
    task = pk.task("labels.yaml")
    actual = search(task=task)
    assert actual.settings["dev_rows"] == len(task.part("dev")) - 20
    dev_rows = len(task.part("dev"))
    with refused(TaskError, "rows-are-evaluated", task="labels", part="dev", rows=dev_rows):
        search(split="train")
