"""Runs for reports, and what is in a page."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import promptkit as pk

HOSTILE = [
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "<svg onload=window.hacked=1>",
    '"><b>bold</b>',
    "{{ 7 * 7 }} ${7 * 7} javascript:alert(1) <!-- --> ]]>",
    "\u2028 \x00 \ud800 \u202e",
]
"""Texts that are markup or code."""
INLINE = "{% block input %}{{ text }}{% endblock %}{% block target %} {{ label }}{% endblock %}"
HOSTILE_LABEL = "<b onclick=window.hacked=1>yes"


def rows(count: int, texts: list[str] | None = None, *, labels: tuple[str, str] = ("no", "yes")) -> list[dict[str, str]]:
    """Returns labeled rows; the given texts are in the first ones."""
    texts = texts or []
    numbered = (texts[number] if number < len(texts) else "was good" for number in range(count))
    return [{"text": f"{text} {number}", "label": labels[number % 2]} for number, text in enumerate(numbered)]


def hostile_run(out: Path, count: int = 24) -> pk.Run:
    """Evaluates rows with hostile texts and a hostile label, which are also in demonstrations."""
    labels = ("no", HOSTILE_LABEL)
    data = rows(count, [text for text in HOSTILE if "\ud800" not in text and "\x00" not in text], labels=labels)
    task = pk.task(
        data, label="label", inputs=["text"], labels=[*labels], template=INLINE, name="hostile", train=rows(12, labels=labels)
    )
    prompt = pk.Prompt(task.inline_template and pk.Template(INLINE), demos=pk.demos.First(k=2))
    model = pk.load("fake")
    words = {label: label for label in labels}
    predictors = [pk.Predictor(model, prompt, [pk.Verbalizer(words), *more]) for more in ([], [pk.calibrate.Batch()])]
    return pk.evaluate(predictors, task, out=out, cache=False, progress=False)


def evaluated(out: Path, **options: Any) -> pk.Run:
    """Evaluates a bundled task with the fake model."""
    return pk.EvalConfig(**{"task": "sentiment", "model": "fake", "shots": 2, "limit": 30, **options}).run(
        out=out, progress=False
    )


def items(page: bytes) -> dict[str, Any]:
    """Returns the data of the item browser."""
    (text,) = re.findall(rb'<script type="application/octet-stream" id="items">(.*?)</script>', page, re.DOTALL)
    found: dict[str, Any] = json.loads(gzip.decompress(b64decode(text)))
    return found


def visible(page: bytes) -> str:
    """Returns the page without its scripts and its style sheet."""
    return re.sub(r"<(script|style)\b.*?</\1>", "", page.decode(), flags=re.DOTALL)
