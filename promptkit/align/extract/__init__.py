"""Extractions: aligners that find the answer in generated text."""

from typing import TYPE_CHECKING

from promptkit.align.extract.base import Extraction as Extraction
from promptkit.align.extract.json_answer import Json as Json
from promptkit.align.extract.rules import EXTRACTIONS as EXTRACTIONS
from promptkit.align.extract.rules import Boxed as Boxed
from promptkit.align.extract.rules import FinalAnswer as FinalAnswer
from promptkit.align.extract.rules import FinalNumber as FinalNumber
from promptkit.align.extract.rules import FirstLine as FirstLine
from promptkit.align.extract.rules import JsonField as JsonField
from promptkit.align.extract.rules import Option as Option
from promptkit.align.extract.rules import Pattern as Pattern
from promptkit.align.extract.rules import YesNo as YesNo
from promptkit.align.extract.rules import register as register
from promptkit.core.class_table import named_attributes

# the registered names (see `named_attributes`)
first_line = FirstLine
final_answer = FinalAnswer
final_number = FinalNumber
option = Option
yes_no = YesNo
boxed = Boxed
json_field = JsonField
json = Json
pattern = Pattern
if not TYPE_CHECKING:  # type checkers report unknown names
    __getattr__ = named_attributes(__name__, EXTRACTIONS)
