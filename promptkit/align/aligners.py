"""The table of first aligners, which score labels; extractions have a table of their own."""

from __future__ import annotations

from promptkit.align.choices import Choices
from promptkit.align.classes import Classes
from promptkit.align.extract import EXTRACTIONS
from promptkit.align.multi_label import MultiLabel
from promptkit.align.verbalizer import Verbalizer
from promptkit.core.class_table import ClassTable
from promptkit.core.output_reader import OutputReader

FIRST_ALIGNERS: ClassTable[OutputReader] = ClassTable(
    "first aligner",
    (Verbalizer, MultiLabel, Choices, Classes),
    group="promptkit.first_aligners",
    has_keywords=False,
    beside=(EXTRACTIONS,),
)
"""First aligners by name, except extractions. Recorded runs create them again with their settings as keyword arguments."""
register = FIRST_ALIGNERS.register
"""Registers the class of a first aligner, which implements `OutputReader`; recorded runs then know its name."""
