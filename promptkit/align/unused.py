"""Options of aligners that have no effect together with other options."""

from __future__ import annotations

from promptkit.core.errors import InputError


def check_unused(aligner: str, given: str, **options: tuple[object, object]) -> None:
    """Raises InputError if an option differs from its default, although another option makes it have no effect.

    Args:
        aligner: The name of the aligner.
        given: The other option and its value, such as `sources=words`.
        options: The options without effect: name -> value and default.
    """
    for option, (value, default) in options.items():
        if value != default:
            raise InputError(
                f"The keyword {option} of {aligner} has no effect with {given}",
                code="option-without-effect",
                got=f"{option}={value}",
                hint=f"Leave out {option}, or {given}",
                aligner=aligner,
                option=option,
                given=given,
            )
