"""Embeds rows to select demonstrations by similarity, with a sentence encoder or a language model's mean hidden state.

The embedded text is a row's inputs without the template, so that the selection is the same under every template and each text
is embedded once. A language model embeds a text as the mean of its last hidden layer over the text's tokens. Vectors are
centered on the pool's mean, which dominates the mean hidden states of a language model, and scaled to unit length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from promptkit.core.errors import Unsupported
from promptkit.core.examples import Example
from promptkit.core.inputs import TextInput
from promptkit.core.manipulation import Ask
from promptkit.core.model import text_card
from promptkit.core.requests import Read, ReadOutput, Request
from promptkit.inputs.text.encoding import encode_text
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import inputs_text

Vectors = NDArray[np.float32]
"""Embeddings, shape (rows, width)."""
THIS_MODEL = "model"
"""Name of the encoder that is the model which reads the prompt."""
LAYER = -1
"""The last layer gives the best neighbors in Gemma 3 270M: a vote of 4 on TREC has accuracy 0.84, on layer 9 it has 0.66."""
REQUESTS_PER_CALL = 2048
"""Number of texts per call."""


class EmbeddingSpace:
    """The embeddings of a pool, and of any rows in the same space."""

    def __init__(self, context: SelectionContext, encoder: str, pool: Sequence[Example]) -> None:
        """Embeds the pool.

        Args:
            context: The models.
            encoder: `model` for the model that reads the prompt, or the name of another.
            pool: The rows whose mean is the origin.
        """
        self._ask = context.ask if encoder == THIS_MODEL else context.other_models[encoder]
        vectors = embed_texts(self._ask, pool)
        self._mean = vectors.mean(0, dtype=np.float64).astype(np.float32)
        self.pool = self._normalize(vectors)
        """Unit vectors of the pool, shape (rows, width)."""

    def __call__(self, examples: Sequence[Example]) -> Vectors:
        """Returns the unit vectors of rows, shape (rows, width)."""
        return self._normalize(embed_texts(self._ask, examples))

    def _normalize(self, vectors: Vectors) -> Vectors:
        centered = vectors - self._mean
        lengths = np.linalg.norm(centered, axis=1, keepdims=True)
        normalized: Vectors = centered / np.where(lengths > 0, lengths, 1)
        return normalized


def embed_texts(ask: Ask, examples: Sequence[Example]) -> Vectors:
    """Returns the embeddings before centering and scaling."""
    requests = [_request(ask, example) for example in examples]
    vectors = np.empty((len(requests), text_card(ask.card).d_model), np.float32)
    for begin in range(0, len(requests), REQUESTS_PER_CALL):
        try:
            outputs = ask(requests[begin : begin + REQUESTS_PER_CALL])
        except Unsupported as error:
            raise Unsupported(
                f"Selecting demonstrations by similarity needs hidden states. {error}",
                code="no-hidden-states",
                hint="Use another model to embed texts, such as encoder=demo or encoder=encoder:FOLDER, or select with bm25",
                **error.fields,
            ) from None
        for row, output in enumerate(outputs, start=begin):
            assert isinstance(output, ReadOutput)
            assert output.hidden is not None
            vectors[row] = output.hidden.numpy()
    return vectors


def _request(ask: Ask, example: Example) -> Request:
    """Returns the request for a text after the BOS tokens, truncated to the context length; an empty text becomes a space."""
    card = text_card(ask.card)
    ids = encode_text(inputs_text(example) or " ", card, at_most=card.context_length)
    return Request(input=TextInput(ids=ids), verb=Read(hidden_layer=LAYER, mean_from=len(card.tokenizer.bos)))
