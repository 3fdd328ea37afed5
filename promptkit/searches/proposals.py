"""Instructions that a model proposes: for demonstrations of the task (APE), or from what has been tried (OPRO).

APE (Zhou et al. 2022, 2211.01910) asks which instruction would have led to some input-output pairs; several sets of pairs are
drawn, and several texts for each. Its resampling around the best is left out, which the paper finds to add little. OPRO (Yang
et al. 2023, 2309.03409) shows pairs and the instructions tried so far with their accuracies, the best one last, and asks for
a better one. Knows nothing of how an instruction is tried.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptkit.core.errors import Unsupported
from promptkit.core.inputs import Piece, TextInput
from promptkit.core.manipulation import Ask
from promptkit.core.requests import Generate, GenerateOutput, Generation, Request
from promptkit.core.seeding import hash_rank
from promptkit.inputs.text.encoding import chat, encode, framed

PAIRS = 5
"""Demonstrations in a prompt that asks for instructions."""
SAMPLES = 4
"""Texts written for each set of them."""
SHOWN = 20
"""The most instructions that OPRO shows, the best ones."""
TEMPERATURE = 1.0
MAX_TOKENS = 50

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
    """A model that is asked for instructions."""

    ask: Ask
    pairs: Mapping[str, str]
    """Id of a row of the pool -> its input and its answer, as a demonstration shows them."""
    chat: bool
    """Whether it is asked in a turn of its chat template."""
    seed: int

    def from_pairs(self, count: int) -> list[str]:
        """What the model takes the instruction of drawn pairs to have been: of `count` texts those that are whole."""
        return self._proposed(
            [_APE.format(pairs=self._drawn(f"ape {number}")) for number in range(-(-count // SAMPLES))], count
        )

    def from_history(self, accuracies: Mapping[str, float], count: int, step: int) -> list[str]:
        """What the model writes after instructions and their accuracies; `step` is the round, which draws its own pairs."""
        best = sorted(accuracies, key=lambda text: accuracies[text])[-SHOWN:]
        tried = "".join(f"Instruction: {text}\nScore: {round(100 * accuracies[text])}\n\n" for text in best)
        return self._proposed([_OPRO.format(tried=tried, pairs=self._drawn(f"opro {step}"))], count)

    def _drawn(self, purpose: str) -> str:
        ids = sorted(self.pairs, key=lambda row: hash_rank(self.seed, purpose, row))[:PAIRS]
        return "\n\n".join(self.pairs[row].strip() for row in ids)

    def _proposed(self, prompts: Sequence[str], count: int) -> list[str]:
        """The usable ones of `count` texts, shared out among the prompts."""
        shares = [count // len(prompts) + (number < count % len(prompts)) for number in range(len(prompts))]
        requests = [
            Request(
                input=self._input(prompt),
                verb=Generate(
                    max_tokens=MAX_TOKENS,
                    n=share,
                    temperature=TEMPERATURE,
                    seed=int.from_bytes(hash_rank(self.seed, prompt)[:6]),
                ),
            )
            for prompt, share in zip(prompts, shares, strict=True)
        ]
        texts = []
        for output in self.ask(requests):
            assert isinstance(output, GenerateOutput)
            texts += [cleaned(each) for each in output.generations]
        return [text for text in texts if text is not None]

    def _input(self, prompt: str) -> TextInput:
        piece = Piece(text=prompt, part="query")
        tokenizer = self.ask.card.tokenizer
        pieces = chat([("user", [piece])], tokenizer) if self.chat else framed([piece], tokenizer)
        if pieces is None:
            raise Unsupported(
                "The model has no chat template that accepts a single user turn",
                code="no-chat-template",
                hint="Leave out --chat for a base model",
                turns=("user",),
            )
        return encode(pieces, tokenizer)


def cleaned(written: Generation) -> str | None:
    """The first sentence of a text, as an instruction begins; None if it was broken off before one, or says nothing."""
    line, *more = written.text.strip().split("\n")
    sentence = _SENTENCE.match(line)
    if sentence is None and not more and written.ended == "length":
        return None
    text = (sentence[1] if sentence else line).strip().strip("\"'“”‘’[]<>*` ")
    return text[0].upper() + text[1:] if any(map(str.isalpha, text)) else None
