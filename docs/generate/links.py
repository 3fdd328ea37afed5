"""Adapts the links of pages, which are those of the repository, to the site: there the pages of `docs/` are at the root."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

COPIED = ("benchmarks", "examples")
"""The folders of the repository whose pages have the same place in the site."""
LINK = re.compile(r"(\]\()([^)\s#:]+)(#[^)\s]*)?(\))")
"""A relative link to a file, with its anchor."""


def on_page_markdown(markdown: str, *, page: object, config: object, files: object) -> str:
    """Returns the text of a page with the links of the site."""
    place = PurePosixPath(page.file.src_uri)  # type: ignore[attr-defined]
    return LINK.sub(lambda found: found[1] + site_link(found[2], place) + (found[3] or "") + found[4], markdown)


def site_link(link: str, page: PurePosixPath) -> str:
    """Returns a link of the repository as a link of the site.

    Args:
        link: The link.
        page: The place of the page in the site.
    """
    target = normpath(repository_folder(page) / link)
    if target == "README.md":
        target = "index.md"
    elif target.startswith("docs/"):
        target = target.removeprefix("docs/")
    return relpath(target, page.parent)


def repository_folder(page: PurePosixPath) -> PurePosixPath:
    """Returns the folder in the repository of a page of the site."""
    if page.name == "index.md" and page.parent == PurePosixPath():
        return PurePosixPath()
    return page.parent if page.parts[0] in COPIED else PurePosixPath("docs") / page.parent


def linked_files(root: Path) -> list[str]:
    """Returns the files outside of `docs/` that pages link to and that are no pages of the site themselves."""
    pages = [root / "README.md", *(root / "docs").glob("*.md"), *(root / "benchmarks").glob("*/README.md")]
    pages += (root / "examples").rglob("README.md")
    written = {page.resolve() for page in pages if "examples" not in page.relative_to(root).parts}
    found = set()
    for page in pages:
        for _, link, _, _ in LINK.findall(page.read_text("utf-8")):
            target = (page.parent / link).resolve()
            if target.is_file() and target not in written:
                found.add(target.relative_to(root).as_posix())
    return sorted(found)
