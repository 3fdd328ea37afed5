"""Reports in a real browser: every view, the browser of rows, hostile texts, the keyboard, and accessibility."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from tests.reports.conftest import Open
from tests.reports.pages import HOSTILE, HOSTILE_LABEL, evaluated, hostile_run

pytest.importorskip("vl_convert")
pytest.importorskip("playwright")
pytestmark = pytest.mark.browser
WIDTHS = (400, 800, 1280)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pk.Run:
    return evaluated(tmp_path_factory.mktemp("runs"), calibrate=["contextual", "batch"], limit=120)


@pytest.fixture(scope="module")
def report(run: pk.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run.report(tmp_path_factory.mktemp("page") / "report.html")


def shown(page: Any) -> list[str]:
    """The ids of the rows that are shown."""
    ids: list[str] = page.eval_on_selector_all(".item", "items => items.map(item => item.dataset.id)")
    return ids


def show_all(page: Any) -> list[str]:
    while page.locator("button.more:not([hidden])").count():
        page.click("button.more")
    return shown(page)


def open_all(page: Any) -> None:
    """Opens all rows that are shown."""
    for row in page.locator(".item").all():
        row.locator("> summary").click()
        row.locator(".detail").wait_for()


def violations(page: Any) -> list[tuple[str, list[str]]]:
    """The rules of axe that elements of the page break, with these elements."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(rule["id"], [node["html"][:120] for node in rule["nodes"]]) for rule in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_run_fits_every_width_and_is_accessible(report: Path, opened: Open, width: int, scheme: str) -> None:
    page = opened(report, width=width, scheme=scheme)
    page.locator(".item > summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page) == []


def test_rows_are_searched_filtered_and_sorted(run: pk.Run, report: Path, opened: Open) -> None:
    page = opened(report)
    rows = {row.id: row for row in run.rows}
    first = run.results[0].align
    assert len(shown(page)) == 50
    assert show_all(page) == list(run.ids)
    page.select_option("#show", "wrong")
    wrong = [row.id for row in run.rows if not row.answers[first].correct]
    assert show_all(page) == wrong
    page.select_option("#gold", "positive")
    assert show_all(page) == [row for row in wrong if rows[row].gold == "positive"]
    page.select_option("#gold", "")
    page.select_option("#show", "all")
    page.select_option("#guess", "negative")
    assert show_all(page) == [row.id for row in run.rows if row.answers[first].prediction == "negative"]
    page.select_option("#guess", "")
    page.select_option("#order", "up")
    margins = [abs(2 * rows[row].answers[first].probabilities["positive"] - 1) for row in show_all(page)]
    assert margins == pytest.approx(sorted(margins), abs=3e-4)
    page.select_option("#order", "order")
    word = max(next(iter(run.rows)).inputs["text"].split(), key=len)
    page.fill("#search", word.upper())
    page.wait_for_selector(".count:not(:text('120 of'))")
    assert show_all(page) == [row.id for row in run.rows if word.lower() in row.inputs["text"].lower()]


def test_another_alignment_and_rows_that_it_changes(run: pk.Run, report: Path, opened: Open) -> None:
    page = opened(report)
    page.select_option("#branch", "2")
    page.select_option("#show", "flipped")
    one, other = (run.results[index].predictions for index in (0, 2))
    assert show_all(page) == [row for row, before, after in zip(run.ids, one, other, strict=True) if before != after]


def test_a_row_shows_probabilities_and_tokens(run: pk.Run, report: Path, opened: Open) -> None:
    page = opened(report)
    page.locator(".item > summary").first.click()
    text = page.locator(".item[open] .detail").inner_text()
    row = run.rows[0]
    assert row.inputs["text"] in text
    for answer in row.answers.values():
        assert f"{answer.probabilities['positive']:.3f}" in text
    assert "Log-probability of each token" in text
    assert "tokens in the prompt" in text


def test_everything_is_reached_with_the_keyboard(report: Path, opened: Open) -> None:
    page = opened(report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.locator("#search").focus()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
    page.keyboard.press("Enter")
    assert page.locator(".item[open]").count() == 1
    page.locator("button.more").focus()
    page.keyboard.press("Enter")
    assert len(shown(page)) == 100
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_charts_have_tooltips_and_select_from_the_legend(report: Path, opened: Open) -> None:
    page = opened(report)
    chart = page.locator("[data-chart]", has=page.locator("path[aria-roledescription], .mark-symbol path")).first
    chart.locator(".mark-symbol path").first.hover(force=True)
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "0." in page.locator("#vg-tooltip-element").inner_text()


def test_printing_shows_everything_on_white(report: Path, opened: Open) -> None:
    page = opened(report, scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    assert len(page.pdf()) > 10_000


def test_hostile_texts_are_shown_and_nothing_executes(tmp_path: Path, opened: Open) -> None:
    page = opened(hostile_run(tmp_path / "runs").report(tmp_path / "report.html"))
    open_all(page)
    content = page.locator("main").inner_text()
    assert all(text.strip() in content for text in HOSTILE[:4])
    assert HOSTILE_LABEL in content
    page.fill("#search", "</script>")
    assert page.evaluate("window.hacked === undefined")
    assert page.locator("main b, main img, .item script, .item svg").count() == 0


def test_generated_texts_mark_the_answer(tmp_path: Path, opened: Open) -> None:
    run = evaluated(tmp_path / "runs", task="arithmetic", limit=8)
    page = opened(run.report(tmp_path / "report.html"))
    open_all(page)
    answers = [answer for answer in run.results[0].predictions if answer is not None]
    assert page.locator(".item mark").all_inner_texts() == answers
    assert violations(page) == []


def test_an_unfinished_run_is_accessible(run: pk.Run, tmp_path: Path, opened: Open) -> None:
    folder = tmp_path / "unfinished"
    folder.mkdir()
    (folder / "run.json").write_bytes((run.path / "run.json").read_bytes())
    page = opened(pk.report(folder, tmp_path / "report.html"), charts=False)
    assert page.locator(".banner").is_visible()
    page.locator("summary").first.click()
    assert "sentiment" in page.locator(".facts").inner_text()
    assert violations(page) == []
