"""Every error that a user can cause: what happened, what was given, what to try.

Knows nothing of the rest of promptkit. The command line prints one as a paragraph and exits with 1.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from json import JSONDecodeError


class PromptkitError(Exception):
    """A mistake that the user can mend, told in one paragraph."""

    def __init__(self, what: str, *, got: object = None, hint: str = "") -> None:
        """`what` happened, what was `got`, and a `hint` that says what to try."""
        parts = [what.rstrip(".") + "."]
        if got is not None:
            parts.append(f"Given: {got}.")
        if hint:
            parts.append(hint if hint.endswith((".", "?")) else f"{hint}.")
        super().__init__(" ".join(parts))


class Unsupported(PromptkitError):
    """A model cannot do what a manipulation or an aligner asks of it."""


class OutOfMemory(PromptkitError):
    """One request alone is too large for the memory there is."""


def unknown(kind: str, name: str, known: Iterable[str], *, hint: str = "") -> PromptkitError:
    """The error for a `name` that is none of the `known` ones of its `kind`, with close matches."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    listing = f"Did you mean {' or '.join(close)}?" if close else f"There are: {', '.join(names) or 'none'}."
    return PromptkitError(f"There is no {kind} named {name!r}", hint=f"{listing} {hint}".strip())


def json_reason(error: Exception) -> str:
    """Why a line is not JSON; the decoder's own text counts lines of its own."""
    return (
        f"{error.msg.removesuffix(' at')} at column {error.colno}"
        if isinstance(error, JSONDecodeError)
        else str(error) or "too deeply nested"
    )


def missing_extra(package: str, extra: str, purpose: str) -> PromptkitError:
    """The error for an optional package that is not installed, with the pip line."""
    return PromptkitError(
        f"{purpose} needs the package {package}, which is not installed",
        hint=f"Install it with: pip install 'promptkit[{extra}]'",
    )
