"""The name of the installed distribution, and the packages of its extras.

The name `promptkit` on the Python package index belongs to another project. The distribution therefore has another name, and
messages tell users to install the packages of an extra, not the extra.
"""

from __future__ import annotations

import shlex
from importlib.metadata import PackageNotFoundError, requires

DISTRIBUTION = "promptkit-reprogramming"
"""The name of the distribution; the package and the command are named `promptkit`."""


def packages_of(extra: str) -> list[str]:
    """Returns the requirements of an extra, such as `openai>=2`; empty if promptkit is not installed as a distribution."""
    from packaging.requirements import Requirement

    try:
        requirements = [Requirement(text) for text in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:
        return []
    optional = [(each, each.marker) for each in requirements if each.marker and not each.marker.evaluate({"extra": ""})]
    return [f"{each.name}{each.specifier}" for each, marker in optional if marker.evaluate({"extra": extra})]


def install_command(extra: str, *options: str) -> str:
    """Returns the command that installs the packages of an extra; without a distribution, from a clone of the repository.

    Args:
        extra: The extra.
        options: Options of `pip install`.
    """
    return shlex.join(["pip", "install", *options, *(packages_of(extra) or [f".[{extra}]"])])
