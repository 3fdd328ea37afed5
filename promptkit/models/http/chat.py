"""The tokenizer of a chat server without a known tokenizer: each character is a token, so that a prompt's ids are its text.

Control tokens mark the chat turns, so that the messages can be restored from the ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from promptkit.core.model import Encoding

FIRST_CONTROL_ID = 0x110000
"""The first integer that is not a code point."""
ROLES = ("system", "user", "assistant")
CONTROL = {name: FIRST_CONTROL_ID + index for index, name in enumerate([*(f"<turn:{role}>" for role in ROLES), "<turn:end>"])}
CONTROL_NAMES = {token_id: name for name, token_id in CONTROL.items()}


class Message(TypedDict):
    """One message of a chat in OpenAI's format."""

    role: str
    content: str


class CharacterTokenizer:
    """A tokenizer with one token for each character and control tokens for chat turns."""

    control = CONTROL
    bos: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    def encode(self, text: str) -> Encoding:
        """Returns the code points of the text."""
        return Encoding(ids=tuple(map(ord, text)), starts=tuple(range(len(text))))

    def name(self, token_id: int) -> str:
        """Returns the character, or the name of the control token."""
        return CONTROL_NAMES.get(token_id) or chr(token_id)

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of the ids, with control tokens by name."""
        return "".join(map(self.name, ids))

    def chat(self, turns: Sequence[tuple[str, str]]) -> str:
        """Returns the turns, each between its control tokens, and the start of the assistant's turn."""
        return "".join(f"<turn:{role}>{content}<turn:end>" for role, content in turns) + "<turn:assistant>"


def messages_of(ids: Sequence[int]) -> list[Message]:
    """Returns the chat messages of a prompt; a prompt without control tokens is one message of the user."""
    messages: list[Message] = []
    for token in ids:
        name = CONTROL_NAMES.get(token)
        if name is None:
            if not messages:
                messages.append({"role": "user", "content": ""})
            messages[-1]["content"] += chr(token)
        elif name != "<turn:end>":
            messages.append({"role": name.removeprefix("<turn:").removesuffix(">"), "content": ""})
    if messages[-1] == {"role": "assistant", "content": ""}:
        messages.pop()
    return messages
