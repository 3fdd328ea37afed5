"""The tokenizer of a chat server without a known tokenizer: each character is a token, so that a prompt's ids are its text.

Control tokens mark the chat turns, so that the messages can be restored from the ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from promptkit.core.model import DEFAULT_CHAT, ChatOptions, Encoding
from promptkit.core.thinking import ThoughtMarkers

FIRST_CONTROL_ID = 0x110000
"""The first integer that is not a code point."""
ROLES = ("system", "user", "assistant")
THINKING = {"<thinking:on>": True, "<thinking:off>": False}
"""The control tokens at the start of a chat that turn thinking on or off."""
CONTROL = {
    name: FIRST_CONTROL_ID + index
    for index, name in enumerate([*(f"<turn:{role}>" for role in ROLES), "<turn:end>", *THINKING])
}
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

    def encode(self, text: str, *, after: str | None = None, before: str | None = None) -> Encoding:
        """Returns the code points of the text. The surrounding text has no effect."""
        return Encoding(ids=tuple(map(ord, text)), starts=tuple(range(len(text))))

    def name(self, token_id: int) -> str:
        """Returns the character, or the name of the control token."""
        return CONTROL_NAMES.get(token_id) or chr(token_id)

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of the ids, with control tokens by name."""
        return "".join(map(self.name, ids))

    def chat(self, turns: Sequence[tuple[str, str]], options: ChatOptions = DEFAULT_CHAT) -> str:
        """Returns the turns, each between its control tokens, and the start of the assistant's turn.

        A control token before them sets thinking on or off, for `template_arguments`.
        """
        switch = "" if options.thinking is None else f"<thinking:{'on' if options.thinking else 'off'}>"
        return switch + "".join(f"<turn:{role}>{content}<turn:end>" for role, content in turns) + "<turn:assistant>"

    def thought_markers(self, options: ChatOptions = DEFAULT_CHAT) -> Sequence[ThoughtMarkers]:
        """Returns none, because the server's chat template is not known."""
        return ()


def template_arguments(ids: Sequence[int]) -> dict[str, object]:
    """Returns the field of a chat request that passes the prompt's switch for thinking to the server's chat template.

    vLLM, SGLang and llama.cpp read it. Templates use one of two variables, and ignore the other.
    """
    thinking = THINKING.get(CONTROL_NAMES.get(ids[0], "")) if ids else None
    return {} if thinking is None else {"chat_template_kwargs": {"enable_thinking": thinking, "thinking": thinking}}


def messages_of(ids: Sequence[int]) -> list[Message]:
    """Returns the chat messages of a prompt; a prompt without control tokens is one message of the user."""
    messages: list[Message] = []
    for token in ids:
        name = CONTROL_NAMES.get(token)
        if name is None:
            if not messages:
                messages.append({"role": "user", "content": ""})
            messages[-1]["content"] += chr(token)
        elif name not in ("<turn:end>", *THINKING):
            messages.append({"role": name.removeprefix("<turn:").removesuffix(">"), "content": ""})
    if messages[-1] == {"role": "assistant", "content": ""}:
        messages.pop()
    return messages
