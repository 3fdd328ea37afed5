"""Extractions: aligners that find the answer in generated text."""

from promptkit.align.extract.base import Extraction as Extraction
from promptkit.align.extract.rules import EXTRACTIONS as EXTRACTIONS
from promptkit.align.extract.rules import boxed as boxed
from promptkit.align.extract.rules import final_answer as final_answer
from promptkit.align.extract.rules import final_number as final_number
from promptkit.align.extract.rules import first_line as first_line
from promptkit.align.extract.rules import json_field as json_field
from promptkit.align.extract.rules import option as option
from promptkit.align.extract.rules import pattern as pattern
from promptkit.align.extract.rules import register as register
from promptkit.align.extract.rules import yes_no as yes_no
