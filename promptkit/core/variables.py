"""The names of the template variables that come from the answers of a task, and not from its rows."""

from __future__ import annotations

LABEL = "label"
"""The word of one label, or a generated answer, for the target block only."""
LABELS = "labels"
"""The words of all labels."""
SCHEMA = "schema"
"""The JSON schema of the answers, as text on one line."""
OF_ANSWERS = frozenset({LABEL, LABELS, SCHEMA})
