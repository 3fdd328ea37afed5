"""Short names of compared runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath


def short_names(runs: Sequence[tuple[PurePath, str | None]]) -> list[str]:
    """Returns a name for each run, as RUN or RUN:BRANCH, from the parts of its path that distinguish it from the others.

    The folders that all paths begin with are left out, and those at the end that are not needed: `monday/tickets-1a2b3c4d` and
    `tuesday/tickets-5e6f7a8b` become `monday` and `tuesday`; of `runs/sst2-1a2b3c4d` and `runs/sst2-5e6f7a8b` the last parts
    remain.

    Args:
        runs: The folder and the branch of each run; None if no branch is named.
    """
    folders = {folder for folder, _ in runs}
    shared = min(len(folder.parts) for folder in folders) - 1
    while any(folder.parts[:shared] != runs[0][0].parts[:shared] for folder in folders):
        shared -= 1
    names = {
        folder: _shortest(folder.parts[shared:], [each.parts[shared:] for each in folders - {folder}]) for folder in folders
    }
    return [names[folder] + (f":{branch}" if branch else "") for folder, branch in runs]


def _shortest(parts: Sequence[str], others: Sequence[Sequence[str]]) -> str:
    """Returns the shortest beginning of a path that no other path has."""
    for count in range(1, len(parts)):
        if all(other[:count] != parts[:count] for other in others):
            return str(PurePath(*parts[:count]))
    return str(PurePath(*parts))
