"""The report of a run on images: thumbnails and label maps."""

from __future__ import annotations

import json
import shutil
from html import unescape
from pathlib import Path

import pytest

import promptkit as pk
from promptkit.display.png import png_url
from promptkit.inputs.image import image_input
from tests.models.vision.tiny import save_vit
from tests.reports.conftest import Open
from tests.reports.pages import evaluated, items, visible
from tests.reports.test_browser import violations

pytest.importorskip("vl_convert")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pk.Run:
    folder = tmp_path_factory.mktemp("images")
    model = f"vision:{save_vit(folder / 'vit')}"
    return evaluated(folder / "runs", task="digits", model=model, shots=None, limit=20, labelmap="full", per_class=2)


def test_rows_have_thumbnails_and_label_maps_are_shown(run: pk.Run, tmp_path: Path) -> None:
    page = run.report(tmp_path / "report.html").read_bytes()
    data, text = items(page), unescape(visible(page))
    images = {
        row.id: png_url(image_input(row.inputs["image"], row.id).pixels.numpy()) for row in pk.task("digits").rows("test")
    }
    assert [data["images"][row["in"]["image"]] for row in data["rows"]] == [images[row] for row in run.ids]
    (label_map,) = run.results[0].label_maps.values()
    for label, sources in label_map.table(1).items():
        assert f'<th scope="row">{label}</th><th scope="row">' in text
        assert all(f"{source!r} {weight:.2f}" in text for source, weight in sources.items())
    assert not items(run.report(tmp_path / "figures.html", text=False).read_bytes())["images"]


def test_a_run_without_its_data_has_a_page_without_thumbnails(run: pk.Run, tmp_path: Path) -> None:
    copy = shutil.copytree(run.path, tmp_path / "copy")
    (copy / "origin.json").write_text(json.dumps({"folder": "/nowhere", "task": {"task": "missing.yaml"}}))
    data = items(pk.report(copy, tmp_path / "report.html").read_bytes())
    assert data["images"] == {}
    assert len(data["rows"]) == 20


@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 1280])
def test_images_are_shown_in_the_browser(run: pk.Run, tmp_path: Path, opened: Open, width: int) -> None:
    page = opened(run.report(tmp_path / "report.html"), width=width)
    assert page.locator(".item > summary img").count() == 20
    page.locator(".item > summary").first.click()
    assert page.locator(".item[open] .detail img").evaluate("image => image.naturalWidth") == 8
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page) == []
