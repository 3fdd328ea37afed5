"""The report of a run: the figures of the run, its rows, and nothing that executes."""

from __future__ import annotations

import json
import re
import shutil
from base64 import b64encode
from hashlib import sha256
from html import unescape
from pathlib import Path

import pytest

import promptkit as pk
from promptkit.analysis.risk_coverage import risk_coverage
from promptkit.core.errors import InputError, RunError
from promptkit.runs.prompts import read_prompts
from tests.reports.pages import HOSTILE_LABEL, evaluated, hostile_run, items, visible
from tests.support.errors import refused
from tests.support.heavy_packages import modules_after

pytest.importorskip("vl_convert")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pk.Run:
    return evaluated(tmp_path_factory.mktemp("runs"), calibrate=["contextual", "batch"])


@pytest.fixture(scope="module")
def page(run: pk.Run, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return run.report(tmp_path_factory.mktemp("page") / "report.html").read_bytes()


def test_the_page_has_every_figure_of_the_run(run: pk.Run, page: bytes) -> None:
    text = unescape(visible(page))
    assert run.baselines is not None
    for result in (*run.results, *run.baselines.results):
        for name in ("accuracy", "macro_f1", "ece"):
            metric = result.metrics[name]
            assert f"{metric['value']:.3f} <small>{metric['low']:.2f}–{metric['high']:.2f}</small>" in text
    for difference in run.baselines.differences_from_best().values():
        assert f"{difference.estimate.value:+.3f} <small>" in text
    assert all(note in text for note in run.notes)
    assert "promptkit eval sentiment --model fake --shots 2" in text
    assert "@software" in text


def test_the_page_has_every_row_with_its_answers(run: pk.Run, page: bytes) -> None:
    data = items(page)
    assert [row["id"] for row in data["rows"]] == list(run.ids)
    assert [branch["name"] for branch in data["branches"]] == [result.align for result in run.results]
    for row, stored in zip(data["rows"], run.rows, strict=True):
        assert row["in"] == dict(stored.inputs)
        assert row["gold"] == stored.gold
        for (correct, prediction, probabilities, _), answer in zip(row["a"], stored.answers.values(), strict=True):
            assert (bool(correct), prediction) == (answer.correct, answer.prediction)
            assert probabilities == pytest.approx([*answer.probabilities.values()], abs=1e-4)
        (record,) = row["r"]
        assert [each["text"].strip() for each in record["continuations"]] == ["Negative", "Positive"]
        assert len(record["demos"]) == 2
        assert record["tokens"] > 10


def test_the_same_run_gives_the_same_bytes(run: pk.Run, page: bytes, tmp_path: Path) -> None:
    copy = shutil.copytree(run.path, tmp_path / run.path.name)
    assert pk.report(copy, tmp_path / "again.html").read_bytes() == page


def test_the_policy_allows_the_scripts_of_the_page_only(page: bytes) -> None:
    html = page.decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', html)
    scripts = re.findall(r'<script type="module">(.*?)</script>', html, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    hashes = [f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in (*scripts, style)]
    assert all(each in unescape(policy) for each in hashes)
    assert "default-src 'none'" in unescape(policy)
    assert "unsafe" not in policy
    assert not re.findall(r"<[a-z][^>]*\s(on[a-z]+|style)=", visible(page))
    assert not re.findall(r"\b(?:src|href)=\"(?!#|data:)", visible(page))


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    run = hostile_run(tmp_path / "runs")
    page = run.report(tmp_path / "report.html").read_bytes()
    assert {"<img", "<svg", "<b"}.isdisjoint(re.findall(r"<[a-z]+", visible(page)))
    assert HOSTILE_LABEL in unescape(visible(page))
    (charts,) = re.findall(rb'<script type="application/json" id="charts">(.*?)</script>', page, re.DOTALL)
    assert b"<" not in charts
    assert HOSTILE_LABEL in json.dumps(json.loads(charts))
    assert page.count(b"<script") == page.count(b"</script>")


def test_without_texts_only_ids_and_figures_remain(tmp_path: Path) -> None:
    run = evaluated(tmp_path / "runs", instruction="A secret instruction.")
    page = run.report(tmp_path / "report.html", text=False).read_bytes()
    data = items(page)
    content = json.dumps(data) + visible(page)
    assert not [row for row in run.rows for text in row.inputs.values() if text in content]
    assert "secret" not in content
    assert "continuations" not in content
    assert [row["id"] for row in data["rows"]] == list(run.ids)
    assert {row["gold"] for row in data["rows"]} == {"positive", "negative"}


def test_without_texts_free_answers_are_left_out(tmp_path: Path) -> None:
    run = evaluated(tmp_path / "runs", task="arithmetic", limit=8)
    data = items(run.report(tmp_path / "report.html", text=False).read_bytes())
    assert all("gold" not in row and "generations" not in row["r"][0] and row["a"][0][1] is None for row in data["rows"])


def test_no_model_is_loaded(run: pk.Run, tmp_path: Path) -> None:
    assert not {"torch", "transformers", "vllm"} & {*modules_after("report", run.path, "-o", tmp_path / "report.html")}


def test_an_unfinished_run_has_a_banner(run: pk.Run, tmp_path: Path) -> None:
    folder = tmp_path / "unfinished"
    folder.mkdir()
    shutil.copy(run.path / "run.json", folder)
    lines = (run.path / "samples.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "samples.jsonl").write_bytes(b"".join(lines[:5]) + lines[5][:20])
    before = (folder / "samples.jsonl").read_bytes()
    text = visible(pk.report(folder, tmp_path / "report.html").read_bytes())
    assert 'class="banner"' in text
    assert "not finished" in text
    assert "5 rows" in text
    assert (folder / "samples.jsonl").read_bytes() == before


def test_a_damaged_run_is_refused(run: pk.Run, tmp_path: Path) -> None:
    copy = shutil.copytree(run.path, tmp_path / "copy")
    (copy / "predictions.jsonl").write_bytes((copy / "predictions.jsonl").read_bytes().replace(b"positive", b"negative", 1))
    with refused(RunError, "changed-file"):
        pk.report(copy, tmp_path / "report.html")
    with refused(RunError, "no-such-folder"):
        pk.report(tmp_path / "missing", tmp_path / "report.html")
    with refused(InputError, "cannot-write"):
        pk.report(run.path, tmp_path / "missing" / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_risk_coverage_curve_answers_the_most_confident_rows_first(run: pk.Run) -> None:
    rows = run.results[0].metric_input
    points = risk_coverage(rows)
    confidence = rows.probabilities.max(1)
    for point in points:
        answered = confidence >= point.threshold
        assert point.coverage == pytest.approx(answered.mean())
        assert point.risk == pytest.approx(1 - rows.correct[answered].mean())
    assert points[-1].coverage == 1
    assert points[-1].risk == pytest.approx(1 - run.results[0].metrics["accuracy"]["value"], abs=1e-6)


def test_the_page_has_the_exact_prompt_by_part_with_its_tokens(run: pk.Run, page: bytes) -> None:
    data = items(page)
    for row in data["rows"]:
        (record,) = row["r"]
        parts = [data["parts"][number] for number in record["prompt"]]
        assert sum(tokens for _, _, tokens in parts) == record["tokens"]
        assert [part for part, *_ in parts if part.startswith("demonstration")] == ["demonstration 1", "demonstration 2"]
        ((_, query, _),) = [part for part in parts if part[0] == "query"]
        assert row["in"]["text"] in query
    assert len(data["parts"]) < sum(len(row["r"][0]["prompt"]) for row in data["rows"])
    assert not read_prompts(run.path.parent).rows


def test_a_run_without_recorded_prompts_has_a_page(run: pk.Run, tmp_path: Path) -> None:
    copy = shutil.copytree(run.path, tmp_path / "copy")
    (copy / "prompts.jsonl").write_text('{"id": "a", "prompt": 3}\n')
    with refused(RunError, "damaged-file"):
        pk.report(copy, tmp_path / "report.html")
    (copy / "prompts.jsonl").unlink()
    assert all("prompt" not in row["r"][0] for row in items(pk.report(copy, tmp_path / "report.html").read_bytes())["rows"])


def test_a_page_of_300_rows_has_at_most_2_mib(tmp_path: Path) -> None:
    run = evaluated(tmp_path / "runs", limit=300, shots=4, calibrate=["contextual", "batch"])
    page = run.report(tmp_path / "report.html").read_bytes()
    assert len(items(page)["rows"]) == 300
    assert len(page) <= 2 * 2**20
