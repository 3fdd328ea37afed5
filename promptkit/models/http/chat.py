"""The tokenizer of a server that has none to show: a character is a token, so that a prompt's ids are its text.

Chat turns are marked by control tokens of its own, from which the messages are made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptkit.core.model import Encoding

FIRST = 0x110000
"""The first number that is no character's."""
ROLES = ("system", "user", "assistant")
CONTROL = {name: FIRST + index for index, name in enumerate([*(f"<turn:{role}>" for role in ROLES), "<turn:end>"])}


class CharacterTokenizer:
    """One token a character, and the marks of turns."""

    control: Mapping[str, int] = CONTROL
    bos: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    def encode(self, text: str) -> Encoding:
        """Code points."""
        return Encoding(ids=tuple(map(ord, text)), starts=tuple(range(len(text))))

    def name(self, token_id: int) -> str:
        """The character, or the name of the mark."""
        return next((name for name, number in CONTROL.items() if number == token_id), None) or chr(token_id)

    def decode(self, ids: Sequence[int]) -> str:
        """The text; marks by name."""
        return "".join(map(self.name, ids))

    def chat(self, turns: Sequence[tuple[str, str]]) -> str:
        """Each turn between its marks, ready for the assistant's."""
        return "".join(f"<turn:{role}>{content}<turn:end>" for role, content in turns) + "<turn:assistant>"


def messages_of(ids: Sequence[int]) -> list[dict[str, str]]:
    """The chat messages that a prompt of characters means; one without marks is what the user says."""
    names = {number: name.removeprefix("<turn:").removesuffix(">") for name, number in CONTROL.items()}
    messages: list[dict[str, str]] = []
    for token in ids:
        role = names.get(token)
        if role is not None and role != "end":
            messages.append({"role": role, "content": ""})
        elif role is None:
            if not messages:
                messages.append({"role": "user", "content": ""})
            messages[-1]["content"] += chr(token)
    if messages[-1] == {"role": "assistant", "content": ""}:
        messages.pop()
    return messages
