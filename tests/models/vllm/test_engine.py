"""The vllm engine compared with transformers on real rows; one test runs only where vLLM is not installed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.align.chain import reader_for
from promptkit.core.arrays import Array, as_array
from promptkit.core.errors import InputError, MissingPackage
from promptkit.core.examples import Example
from promptkit.core.inputs import TextInput
from promptkit.core.interventions import Interventions
from promptkit.core.json_schema import read_schema
from promptkit.core.requests import Generate, Output, Read, Request, Score, ScoreOutput
from promptkit.manipulate.learned.base_model import base_of
from promptkit.manipulate.learned.storage import save
from promptkit.tasks.sampling import by_hash
from tests.support.errors import refused
from tests.support.hf_models import answer
from tests.support.paths import DATA

installed = find_spec("vllm") is not None
engine = pytest.mark.skipif(not installed, reason="vLLM is not installed: make test-vllm")
data = pytest.mark.skipif(not (DATA / "sst2").is_dir(), reason=f"there is no mirror of data sets in {DATA}")
TOLERANCE = 2e-3
PROMPT = (2, 818, 5279, 529, 7001, 563)  # <bos>The capital of France is


@cache
def hf() -> Any:
    return pk.load("demo")


@cache
def vllm() -> Any:
    """One engine for all tests of the module, with support for learned vectors."""
    model: Any = pk.load("vllm:demo", max_model_len=8192, dtype="float32")
    model._started(vectors=True)
    return model


@pytest.fixture(scope="module", autouse=True)
def close_engine() -> Any:
    yield
    if vllm.cache_info().currsize:
        vllm().close()


def requests_of(name: str, *, k: int, limit: int) -> list[Request]:
    task = pk.task(name, data=DATA)
    demos = pk.demos.Balanced(k=k) if task.labels else pk.demos.Random(k=k)
    bound = pk.Predictor(hf(), pk.Prompt(task.spec.template, demos=demos), reader_for(task)).bind(task)
    rows = [Example(id=row.id, inputs=row.inputs) for row in by_hash(task.rows("test"), limit)]
    return bound.requests(rows)


def rows_of(vectors: Array) -> list[float]:
    numbers: list[float] = vectors.numpy().ravel().tolist()
    return numbers


def scores(outputs: list[Output]) -> list[tuple[float, ...]]:
    return [row for output in outputs if isinstance(output, ScoreOutput) for row in output.logprobs]


# ---- without the engine -----------------------------------------------------------------------------


@pytest.mark.skipif(installed, reason="vLLM is installed")
def test_without_vllm_the_error_names_the_package() -> None:
    with refused(MissingPackage, "missing-package", package="vllm", extra="vllm"):
        pk.load("vllm:demo")


# ---- with the engine ----------------------------------------------------------------------------------------

pytest_vllm = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore"), engine]


class TestEngine:
    pytestmark = pytest_vllm

    @data
    @pytest.mark.parametrize(("name", "k", "limit"), [("sst2", 16, 32), ("banking77", 16, 4), ("trec", 4, 16)])
    def test_label_logprobs_equal_transformers(self, name: str, k: int, limit: int) -> None:
        requests = requests_of(name, k=k, limit=limit)
        expected, result = scores(answer(hf(), requests)), scores(answer(vllm(), requests))
        for one, other in zip(expected, result, strict=True):
            assert other == pytest.approx(one, abs=TOLERANCE)

    @data
    def test_most_prompt_tokens_come_from_the_prefix_cache(self) -> None:
        answer(vllm(), requests_of("sst2", k=16, limit=32))
        assert vllm().prefix_cache_hit_rate() > 0.8

    def test_named_and_most_likely_tokens_equal_transformers(self) -> None:
        many = tuple(range(300))
        requests = [
            Request(input=TextInput(ids=PROMPT), verb=Read(token_ids=many, top_m=25)),
            Request(input=TextInput(ids=PROMPT[:4]), verb=Score(continuations=((5279,), (529, 7001)))),
            Request(input=TextInput(ids=PROMPT[:3]), verb=Read(top_m=3)),
        ]
        expected: list[Any] = answer(hf(), requests)
        result: list[Any] = answer(vllm(), requests)
        assert result[0].logprobs == pytest.approx(expected[0].logprobs, abs=TOLERANCE)
        for index in (0, 2):
            assert [token for token, _ in result[index].top] == [token for token, _ in expected[index].top]
        assert result[1].logprobs[1] == pytest.approx(expected[1].logprobs[1], abs=TOLERANCE)

    def test_greedy_texts_equal_transformers(self) -> None:
        requests = [
            Request(input=TextInput(ids=PROMPT), verb=Generate(max_tokens=12)),
            Request(input=TextInput(ids=PROMPT), verb=Generate(max_tokens=12, stop=("\n", "."))),
        ]
        assert answer(vllm(), requests) == answer(hf(), requests)

    def test_texts_that_are_restricted_to_a_schema_are_valid(self) -> None:
        schema = read_schema({"film": ["good", "bad"], "stars": {"type": "integer", "minimum": 1, "maximum": 5}})
        sampled = Generate(max_tokens=60, n=4, temperature=2.0, json_schema=schema.text)
        verbs = [Generate(max_tokens=60, json_schema=schema.text), Generate(max_tokens=12), sampled]
        requests = [Request(input=TextInput(ids=PROMPT), verb=verb) for verb in verbs]
        result = answer(vllm(), requests)
        for text in (*result[0].generations, *result[2].generations):
            assert text.ended == "end"
            assert schema.problems(json.loads(text.text)) == {}
            assert text.text == schema.written(json.loads(text.text))
        assert len({text.text for text in result[2].generations}) > 1
        assert [output.generations[0].text for output in result[:2]] == [
            output.generations[0].text for output in answer(hf(), requests[:2])
        ]

    def test_samples_depend_only_on_the_seed_and_the_sample(self) -> None:
        def texts(seed: int, n: int, *others: Request, known: int = 0) -> list[str]:
            verb = Generate(max_tokens=8, n=n, known=known, temperature=1.5, seed=seed)
            output: Any = answer(vllm(), [Request(input=TextInput(ids=PROMPT), verb=verb), *others])[0]
            return [text.text for text in output.generations]

        three = texts(0, 3)
        assert len(set(three)) == 3
        assert texts(0, 5)[:3] == three
        assert texts(0, 3, known=2) == three[2:]
        assert texts(0, 3, Request(input=TextInput(ids=PROMPT[:3]), verb=Generate(max_tokens=8))) == three
        assert not set(texts(1, 3)) & set(three)

    def test_learned_vectors_equal_input_embeddings_in_transformers(self) -> None:
        import numpy as np
        import torch

        learned = np.random.default_rng(0).normal(0, 1, (3, 640)).astype("<f4")
        prompt, vectors = TextInput(ids=(2, -1, -2, -3, *PROMPT[1:])), Interventions(vectors=as_array(learned))
        mixed = [
            Request(input=prompt, verb=Score(continuations=((9079,), (7001, 563))), interventions=vectors),
            Request(input=TextInput(ids=PROMPT), verb=Score(continuations=((9079,),))),
        ]
        result: list[Any] = answer(vllm(), mixed)
        hf().load()
        model = transformers_model()
        rows = model.get_input_embeddings()(torch.tensor([[max(0, token) for token in prompt.ids] + [7001]]))
        rows[0, 1:4] = torch.from_numpy(learned.copy())
        with torch.no_grad():
            logprobs = model(inputs_embeds=rows).logits[0].log_softmax(-1)
        last = len(prompt.ids) - 1
        expected = [logprobs[last, 9079].item(), logprobs[last, 7001].item(), logprobs[last + 1, 563].item()]
        assert [*result[0].logprobs[0], *result[0].logprobs[1]] == pytest.approx(expected, abs=TOLERANCE)
        assert result[1].logprobs[0] == pytest.approx(scores(answer(hf(), mixed[1:]))[0], abs=TOLERANCE)

    def test_a_soft_prompt_scores_the_same_as_in_transformers(self, tmp_path: Path) -> None:
        """Parameters trained on one engine work on the other, because the token embeddings are equal."""
        task, prompt = pk.task("sentiment"), pk.Prompt("sentiment/review")
        ids = (2, 818, 5279, 262143)
        assert rows_of(vllm().embed(ids)) == pytest.approx(rows_of(hf().embed(ids)))
        blank = pk.SoftPrompt(5, init="Say how the reviewer liked it.", place="start")
        initial = blank.initial_parameters(pk.Predictor(hf(), [prompt, blank], reader_for(task)).bind_context(task))
        folder = save(blank.with_parameters(initial, base_of(hf())), tmp_path)
        rows = [Example(id=row.id, inputs=row.inputs) for row in by_hash(task.rows("test"), 12)]
        result = []
        for model in (hf(), vllm()):
            predictor = pk.Predictor(model, [prompt, pk.load_manipulation(folder)], reader_for(task))
            result.append(scores(answer(model, predictor.bind(task).requests(rows))))
        for one, other in zip(*result, strict=True):
            assert other == pytest.approx(one, abs=TOLERANCE)

    def test_a_soft_prompt_is_trained_without_gradients(self, tmp_path: Path) -> None:
        """One step of SPSA equals that with transformers."""
        task, prompt = pk.task("sentiment"), pk.Prompt("sentiment/review")
        recipe: Any = {"optimizer": "spsa:perturbation=0.3", "steps": 1, "batch_size": 4, "dev": 4, "learning_rate": 1.0}
        fits = [
            pk.train(pk.Predictor(model, [prompt, pk.SoftPrompt(3)], reader_for(task)), task, out=tmp_path, **recipe)
            for model in (hf(), vllm())
        ]
        assert fits[1].losses == pytest.approx(fits[0].losses, abs=TOLERANCE)
        assert fits[1].rows_computed == fits[0].rows_computed == {"steps": 8, "dev": 8}

    def test_hidden_states_are_refused_before_the_engine_starts(self) -> None:
        model: Any = pk.load("vllm:demo")
        with refused(pk.Unsupported, "no-hidden-states", model="vllm:demo"):
            answer(model, [Request(input=TextInput(ids=PROMPT), verb=Read(hidden_layer=-1))])
        assert model._engine is None

    @pytest.mark.parametrize(
        ("settings", "code", "fields"),
        [
            (
                {"engine_args": '{"swap_spaces": 4}'},
                "unknown-name",
                {"kind": "argument of vLLM's engine", "name": "swap_spaces"},
            ),
            ({"engine_args": "{"}, "invalid-value", {"engine": "vllm", "setting": "engine_args", "value": "{"}),
            ({"data_parallel_size": 2}, "unknown-name", {"kind": "setting of the vllm engine", "name": "data_parallel_size"}),
        ],
    )
    def test_invalid_settings_are_refused(self, settings: dict[str, Any], code: str, fields: dict[str, str]) -> None:
        with refused(InputError, code, **fields):
            pk.load("vllm:demo", **settings).load()

    @data
    def test_the_command_prints_only_its_result_equals_hf_and_leaves_no_process(self, tmp_path: Path) -> None:
        """Also counts the predictions that bfloat16 changes."""
        runs = {}
        for model, dtype in (("demo", "float32"), ("vllm:demo", "float32"), ("vllm:demo", "bfloat16")):
            command = ["eval", "sst2", "--model", model, "--shots", "16", "--limit", "24", "--set", f"dtype={dtype}", "--json"]
            process = started([*command, "--data", str(DATA), "--out", str(tmp_path)])
            out, err = process.communicate()
            assert (process.returncode, err) == (0, "")
            assert ended(process.pid)
            path = Path(json.loads(out)["run"])
            runs[model, dtype] = [json.loads(line) for line in (path / "samples.jsonl").read_text().splitlines()]
        flips = []
        for one, same, rounded in zip(*runs.values(), strict=True):
            assert list(same["logprobs"].values()) == pytest.approx(list(one["logprobs"].values()), abs=TOLERANCE)
            first, second = sorted(one["logprobs"].values())[-1:-3:-1]
            assert same["prediction"] == one["prediction"] or first - second < TOLERANCE
            if rounded["prediction"] != one["prediction"]:
                flips.append(first - second)
        print(f"bfloat16: {len(flips)} of 24 predictions flip, the largest margin {max(flips, default=0):.3f}")
        assert len(flips) < 5

    @pytest.mark.parametrize("moment", ["startup", "requests"])
    def test_ctrl_c_ends_the_engine(self, tmp_path: Path, moment: str) -> None:
        """Interrupts the engine while it starts, or as soon as the first of its answers is on disk."""
        options = ["--model", "vllm:demo", "--set", "batch_tokens=64", "--no-cache", "--out", str(tmp_path), "--json"]
        process = started(["eval", "sentiment", *options])
        while process.poll() is None and not has_begun(process.pid, tmp_path, moment):
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert err == "promptkit: Interrupted. Run the same command again to continue.\n"
        assert ended(process.pid)


class TestServer:
    """vLLM's server on this machine, used through the http engine."""

    pytestmark = pytest_vllm

    @data
    def test_completions_chat_and_a_restart_during_a_run(self, tmp_path: Path) -> None:
        port = free_port()
        url = f"http://127.0.0.1:{port}/v1"
        options = ["--set", f"base_url={url}", "--shots", "16", "--data", str(DATA), "--out", str(tmp_path), "--json"]
        exact = ["eval", "sst2", "--model", "http:gemma", "--set", "tokenizer=demo", "--set", "max_retries=40", *options]
        server = serve(port)
        try:
            full = run_of([*exact, "--limit", "32", "--no-cache"])
            requests = [json.loads(line) for line in (full / "samples.jsonl").read_text().splitlines()]
            expected = scores(answer(hf(), requests_of("sst2", k=16, limit=32)))
            result = [x["logprobs"] for row in requests for x in row["continuations"]]
            for one, other in zip(expected, result, strict=True):
                assert other == pytest.approx(one, abs=TOLERANCE)
            chat = run_of(["eval", "sst2", "--model", "http:gemma", "--chat", *options, "--limit", "8"])
            notes = json.loads((chat / "timing.json").read_text())["notes"]
            assert any(" 8 labels" in note for note in notes)
            process = started([*exact, "--limit", "64", "--no-cache"])
            lines = tmp_path / "none"
            while not (lines.is_file() and lines.read_bytes().count(b"\n") >= 5):
                time.sleep(0.05)
                others = [path for path in tmp_path.glob("sst2-*") if path not in (full, chat)]
                lines = others[0] / "samples.jsonl" if others else lines
            killed(server)
            server = serve(port)
            out, err = process.communicate(timeout=120)
            assert (process.returncode, json.loads(out)["n"]) == (0, 64), err
        finally:
            killed(server)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(port: int) -> subprocess.Popen[bytes]:
    """Starts vLLM's server of the demo model and waits until it is ready."""
    from promptkit.models.files.source import resolve

    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", resolve("demo").location]
    command += ["--served-model-name", "gemma", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--enforce-eager", "--max-model-len", "4096", "--block-size", "32", "--chat-template", "{{ messages }}"]
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"}
    process = subprocess.Popen(command, env=environment, start_new_session=True, **quiet)
    for _ in range(240):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return process
        except OSError:
            assert process.poll() is None
            time.sleep(0.5)
    killed(process)
    raise AssertionError("the server did not start")


def killed(server: subprocess.Popen[bytes]) -> None:
    """Kills the server and the processes of its engine, which a killed server cannot end."""
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    assert ended(server.pid)


def run_of(arguments: list[str]) -> Path:
    process = started(arguments)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return Path(json.loads(out)["run"])


def started(arguments: list[str]) -> subprocess.Popen[str]:
    """Starts the command in a new session."""
    return subprocess.Popen(
        [sys.executable, "-m", "promptkit", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def has_begun(session: int, runs: Path, moment: str) -> bool:
    """Returns whether the engine's processes exist ("startup"), or the run has a record ("requests")."""
    if moment == "startup":
        return len(of_session(session)) >= 3
    return any(path.stat().st_size for path in runs.glob("**/samples.jsonl"))


def ended(session: int) -> bool:
    """Returns whether every process of a session ends within 15 seconds."""
    for _ in range(30):
        if not of_session(session):
            return True
        time.sleep(0.5)
    return False


def of_session(session: int) -> list[str]:
    """Returns the running processes of a session."""
    result = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:  # the process has just ended
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            result.append(path.name)
    return result


def transformers_model() -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    from promptkit.models.files.source import resolve

    return AutoModelForCausalLM.from_pretrained(resolve("demo").location, dtype=torch.float32).eval()
