"""The pages of the benchmarks: their READMEs, whose tables are written from their committed JSON files, and an overview."""

from __future__ import annotations

import re
from pathlib import Path


def result_pages(benchmarks: Path) -> dict[str, str]:
    """Returns the text of each page, by its place in the site."""
    readmes = sorted(benchmarks.glob("*/README.md"))
    pages = {f"benchmarks/{file.parent.name}/README.md": file.read_text("utf-8") for file in readmes}
    return {"results.md": overview(pages), **pages}


def overview(pages: dict[str, str]) -> str:
    """Returns the overview: the title of each benchmark, the question it answers, and its command."""
    head = (
        "# Results\n\n"
        "Every benchmark has a folder in `benchmarks/` with its program, its results as JSON, and a page whose tables are\n"
        "written from these results. Methods are shown beside controls without a language model, with 95% intervals.\n\n"
        "| benchmark | what is measured | command |\n|---|---|---|\n"
    )
    return head + "\n".join(row(place, text) for place, text in pages.items()) + "\n"


def row(place: str, text: str) -> str:
    """Returns the row of a benchmark."""
    title = re.search(r"^# (.*)$", text, re.MULTILINE)
    command = re.search(r"^\s*(python benchmarks/[^\n#]*?)\s*(?:#.*)?$", text, re.MULTILINE)
    assert title is not None, f"{place} has no title"
    first = text[title.end() :].strip().split("\n\n")[0].replace("\n", " ")
    sentence = re.match(r".*?[.?](?=\s|$)", first)
    about = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", sentence[0] if sentence else first)
    return f"| [{title[1]}](../{place}) | {about} | {f'`{command[1]}`' if command else ''} |"
