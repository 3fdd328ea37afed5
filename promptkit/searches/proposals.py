"""Instructions proposed by a model, from demonstrations (APE) or from the instructions scored so far (OPRO).

APE (Zhou et al. 2022, arXiv 2211.01910) prompts a model for the instruction that led to given input-output pairs, with several
samples for each of several sets of pairs. Its resampling around the best instructions, which the paper finds to add little, is
not implemented.
OPRO (Yang et al. 2023, arXiv 2309.03409) shows pairs and the scored instructions with their accuracies, the best one last, and
requests a better one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptkit.core.caller import setting
from promptkit.core.errors import Unsupported
from promptkit.core.examples import LabeledExample
from promptkit.core.inputs import Piece, TextInput
from promptkit.core.manipulation import Ask
from promptkit.core.model import DEFAULT_CHAT, ChatOptions, text_card
from promptkit.core.output_reader import OutputReader
from promptkit.core.requests import Generate, GenerateOutput, Generation, Request
from promptkit.core.seeding import hash_rank
from promptkit.core.thinking import without_thoughts
from promptkit.core.variables import LABEL
from promptkit.inputs.text.chat import chat
from promptkit.inputs.text.encoding import closed, encode, framed
from promptkit.manipulate.prompt import Prompt

PAIRS = 5
"""Number of input-output pairs in a prompt."""
SAMPLES = 4
"""Number of texts generated for each set of pairs."""
SHOWN = 20
"""Maximum number of instructions that OPRO shows, the best ones."""
TEMPERATURE = 1.0
"""Sampling temperature."""
MAX_TOKENS = 50
"""Maximum number of tokens of a text."""

_APE = (
    "I gave a friend an instruction. Based on the instruction they produced the following input-output pairs:\n\n"
    "{pairs}\n\nThe instruction was to"
)
_OPRO = (
    "I have some instructions along with their scores. They are arranged in ascending order of their scores, where higher "
    "scores are better.\n\n{tried}Each instruction is shown before inputs such as these, and should lead to their outputs:\n\n"
    "{pairs}\n\nWrite a new instruction that is different from the old ones and has a score as high as possible.\n\n"
    "Instruction:"
)
_SENTENCE = re.compile(r"(.+?[.!?])(?:\s|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposer:
    """Generates instructions with a model."""

    ask: Ask
    """The model."""
    pairs: Mapping[str, str]
    """Id of a pool row -> its input and its answer, formatted as a demonstration."""
    chat: bool
    """Whether to write the request in a user turn of the model's chat template."""
    seed: int
    """Seed of the pairs and of the samples."""
    chat_options: ChatOptions = DEFAULT_CHAT
    """How the chat template is rendered."""

    def from_pairs(self, count: int) -> list[str]:
        """Proposes instructions from random pairs (APE).

        Args:
            count: Number of texts to generate.

        Returns:
            The usable instructions, at most `count`; they may repeat.
        """
        return self._propose(self.pair_requests(count))

    def pair_requests(self, count: int) -> list[Request]:
        """Returns the requests of `from_pairs`."""
        numbers = range(-(-count // SAMPLES))
        return self._requests([_APE.format(pairs=self._draw_pairs(f"ape {number}")) for number in numbers], count)

    def from_history(self, shares: Mapping[str, float], count: int, step: int) -> list[str]:
        """Proposes instructions from scored instructions (OPRO).

        Args:
            shares: Instruction -> score, from 0 to 1; higher is better.
            count: Number of texts to generate.
            step: Number of the round; each round shows different pairs.

        Returns:
            The usable instructions, at most `count`; they may repeat.
        """
        best = sorted(shares, key=lambda text: shares[text])[-SHOWN:]
        tried = "".join(f"Instruction: {text}\nScore: {round(100 * shares[text])}\n\n" for text in best)
        return self._propose(self._requests([_OPRO.format(tried=tried, pairs=self._draw_pairs(f"opro {step}"))], count))

    def _draw_pairs(self, purpose: str) -> str:
        ids = sorted(self.pairs, key=lambda row: hash_rank(self.seed, purpose, row))[:PAIRS]
        return "\n\n".join(self.pairs[row].strip() for row in ids)

    def _requests(self, prompts: Sequence[str], count: int) -> list[Request]:
        """Returns requests for `count` texts, divided among the prompts."""
        share, remainder = divmod(count, len(prompts))
        return [self._request(prompt, share + (number < remainder)) for number, prompt in enumerate(prompts)]

    def _propose(self, requests: Sequence[Request]) -> list[str]:
        """Generates texts, and returns the usable instructions."""
        instructions = []
        for output in self.ask(requests):
            assert isinstance(output, GenerateOutput)
            instructions += [extract_instruction(generation) for generation in output.generations]
        return [text for text in instructions if text is not None]

    def _request(self, prompt: str, samples: int) -> Request:
        seed = int.from_bytes(hash_rank(self.seed, prompt)[:6])
        verb = Generate(max_tokens=MAX_TOKENS, n=samples, temperature=TEMPERATURE, seed=seed)
        return Request(input=self._input(prompt), verb=verb)

    def _input(self, prompt: str) -> TextInput:
        piece = Piece(text=prompt, part="query")
        card, tokenizer = text_card(self.ask.card), text_card(self.ask.card).tokenizer
        plain = closed(framed([piece], tokenizer), card)
        pieces = chat([("user", [piece])], tokenizer, self.chat_options) if self.chat else plain
        if pieces is None:
            raise Unsupported(
                "The model has no chat template that accepts a single user turn",
                code="no-chat-template",
                hint=f"Leave out {setting('chat')} for a base model",
                turns=("user",),
            )
        return encode(pieces, tokenizer)


def formatted_pairs(prompt: Prompt, reader: OutputReader, rows: Sequence[LabeledExample]) -> dict[str, str]:
    """Returns each row by its id, with its answer, as a demonstration of a prompt shows it.

    Args:
        prompt: The prompt.
        reader: How answers are read.
        rows: The rows.
    """
    shared, template = reader.template_values(), prompt.resolved_template
    pairs = {}
    for row in rows:
        inputs = {**shared, **row.texts}
        answers = [template.render("target", {**inputs, **row.rationale, LABEL: word}) for word in reader.demonstrated(row)]
        pairs[row.id] = "".join([template.render("input", inputs), *answers])
    return pairs


def extract_instruction(generation: Generation) -> str | None:
    """Returns the first sentence of a generated text, or its first line if it has no complete sentence.

    Args:
        generation: The text, and why it ended.

    Returns:
        The capitalized instruction without quotation marks, or None if it is truncated or has no letters.
    """
    answer = without_thoughts(generation.text)
    if answer is None:
        return None
    line, *further_lines = answer.strip().split("\n")
    sentence = _SENTENCE.match(line)
    if sentence is None and not further_lines and generation.ended == "length":
        return None
    text = (sentence[1] if sentence else line).strip().strip("\"'“”‘’[]<>*` ")
    return text[0].upper() + text[1:] if any(map(str.isalpha, text)) else None
