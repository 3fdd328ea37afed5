"""Writes the generated pages of the documentation; run by the plugin gen-files of mkdocs.

The site has the layout of the repository, with the pages of `docs/` at its root: the README of a benchmark is at
`benchmarks/NAME/README.md`, and files that a page links to are copied. `links.py` adapts the links of the pages.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import mkdocs_gen_files

GENERATE = Path(__file__).resolve().parent
ROOT = GENERATE.parents[1]
sys.path[:0] = [str(ROOT), str(GENERATE)]

from api import api_pages  # noqa: E402
from commands import command_page  # noqa: E402
from errors import error_page  # noqa: E402
from links import linked_files  # noqa: E402
from results import result_pages  # noqa: E402
from techniques import technique_page  # noqa: E402


def main() -> None:
    """Writes all generated pages, and the files that pages link to."""
    write("index.md", (ROOT / "README.md").read_text("utf-8"))
    write("techniques.md", technique_page(ROOT))
    write("commands.md", command_page())
    write("errors.md", error_page(ROOT / "promptkit"))
    results, api = result_pages(ROOT / "benchmarks"), api_pages()
    for name, text in (results | api).items():
        write(name, text)
    write("SUMMARY.md", navigation(results, api))
    for file in linked_files(ROOT):
        with mkdocs_gen_files.open(file, "wb") as stream:
            stream.write((ROOT / file).read_bytes())


def navigation(results: Mapping[str, str], api: Mapping[str, str]) -> str:
    """Returns the navigation of the site.

    Args:
        results: The pages of results, by place.
        api: The pages of the API, by place.
    """
    reference = {"commands.md": "# Commands", **api, "errors.md": "# Error codes"}
    sections = {"Results": results, "Reference": reference}
    parts = [(GENERATE / "SUMMARY.md").read_text("utf-8")]
    for section, pages in sections.items():
        parts.append(f"- {section}\n")
        parts += [f"    - [{text.partition(chr(10))[0].removeprefix('# ')}]({place})\n" for place, text in pages.items()]
    return "".join(parts)


def write(name: str, text: str) -> None:
    """Writes a page."""
    with mkdocs_gen_files.open(name, "w") as stream:
        stream.write(text)


main()
