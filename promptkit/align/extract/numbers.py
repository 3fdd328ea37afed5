"""Finds and parses numbers in text.

Numbers can have signs, thousands separators of several countries, decimals, fractions, powers of ten, currency symbols and the
digits of any script. Dates, times and version numbers are not numbers. A comma or space that could either separate two numbers
or group the digits of one, as in `1,2` and `5 100`, separates two numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction

LIMIT = 400
"""Longest text, and largest power of ten, that is parsed as a number."""

_TO_ASCII = str.maketrans("\u2212\u066b\u066c\u066a\u2044\u2019", "-.,%/'") | {0xFF01 + i: chr(0x21 + i) for i in range(94)}
"""Minus sign, Arabic decimal and thousands separators, percent sign, fraction slash, apostrophe and full-width characters."""
_GROUP = "'\u00a0\u202f\u2009"
"""Apostrophe, no-break space, narrow no-break space and thin space, which separate thousands: `1'000`."""
_CURRENCY = "[$£€¥₹₩₽₺₫₪₱₴₦฿¢￥￡]"
_VULGAR = "[¼½¾⅐-⅞]"
"""Fractions that are a single character."""
_FROM_SUPERSCRIPT = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_MAGNITUDES = {"": 0, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|June?|July?|Aug|Sept?|Oct|Nov|Dec)[a-z]*\.?"

_POWER_OF_TEN = r"10(?:(?:\^|\*\*)\{?(?P<%s>[-+]?\d+)\}?|(?P<%s>[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))"
"""`10^6`, `10**{-6}` or `10⁶`; a template for the names of its two groups."""
_NUMBER = rf"""
    (?P<sign>(?<![A-Za-z0-9_.)%])[-+–] | \bnegative\s | (?<!\d\ )\bminus\s)?        # -5 | minus 5; but not 8-5 or 8 minus 5
    (?:(?:{_CURRENCY} | \b(?:USD|EUR|GBP|CHF|INR|JPY|CNY|Rs\.?))[ ]?[-+]?           # $5 | USD 5 | $-5
      | (?<![A-Za-z0-9^]))                                                          # but not x5
    (?<!\d\.) (?<![A-Za-z]_) (?<![\^_]\{{) (?<!\^-)                                 # nor the 5 of x_5 or x^-5
    (?:
        (?:(?P<whole>\d{{1,3}})(?:[ ]|(?=\\|{_VULGAR})))?                           # the first 1 of 1 1/2 and 1½
        (?: (?P<upper>\d+)[ ]?/[ ]?(?P<lower>\d+)(?![\d/])                          # 3/4
          | \\[dt]?frac\{{(?P<above>-?\d+)\}}\{{(?P<below>\d+)\}}                   # \frac of LaTeX
          | (?P<vulgar>{_VULGAR}) )                                                 # ½
      | {_POWER_OF_TEN % ("power", "raised")}                                       # 10^6
      | (?: (?P<comma> \d{{1,3}}(?:[.{_GROUP}]\d{{3}})+,\d+                         # 1.234,50
              | \d+,\d\d[ ]?{_CURRENCY} | (?<={_CURRENCY})\d+,\d\d(?![\d,]) )       # 4,50 € | €4,50
          | (?P<dots> \d{{1,3}}(?:\.\d{{3}}){{2,}}(?![.\d]) )                       # 1.234.567
          | (?P<point>
                \d{{1,3}}(?:(?:,\\!|\{{,\}}|\\,|[,{_GROUP}])\d{{3}})+(?!\d)(?:\.\d+)?   # 1,234.5
              | \d{{1,2}}(?:,\d\d)+,\d{{3}}(?!\d)(?:\.\d+)?                         # 12,34,567 as in India
              | \d{{1,3}}(?:[ ]\d{{3}})*[ ]0\d\d(?:[ ]\d{{3}})*(?!\d)(?:\.\d+)?     # 12 000, as no number begins with 00
              | \d+(?:\.\d+)? | (?<![\w.])\.\d+ ) )                                 # 12.5 | .5
        (?: [eE](?P<exponent>[-+]?\d+)\b                                            # 3.5e3
          | [ ]?(?:[x×*·⋅]|\\times|\\cdot)[ ]?{_POWER_OF_TEN % ("times", "times_raised")} )?   # 3.5 × 10^3
    )
    (?:[ ](?P<magnitude>thousand|million|billion|trillion)\b)?                      # 3 million
"""
_NOT_A_NUMBER = rf"""
    (?<!\d)\d{{1,4}}(?P<between>[-/.])\d{{1,2}}(?P=between)\d{{1,4}}(?!\d)          # a date: 2021-03-04
  | \b{_MONTH}\ \d{{1,2}}(?:st|nd|rd|th)?(?:,?\ \d{{4}})?\b                         # March 4th, 2021
  | \b\d{{1,2}}(?:st|nd|rd|th)?\ {_MONTH}(?:,?\ \d{{4}})?\b                         # 4 March 2021
  | (?<!\d)\d+(?::\d+)+                                                             # a time or a ratio: 10:30
  | (?<![\d.])(?!\d{{1,3}}(?:\.\d{{3}}){{2,}}(?![.\d]))\d+(?:\.\d+){{2,}}           # a version: 1.2.3
  | (?<=\n)[ ]*\d{{1,2}}[.)](?=[ ]+\S)                                              # the number of a list item: 1. or 1)
"""
"""Text with digits that is not a number."""
_FLAGS = re.VERBOSE | re.IGNORECASE
_ANY_NUMBER = re.compile(f"(?:{_NOT_A_NUMBER})|(?P<number>{_NUMBER})", _FLAGS)
_ONLY_NUMBER = re.compile(rf"\\?(?:{_NUMBER})(?:[ ]?(?:\\?%|{_CURRENCY}))?\.?", _FLAGS)


def to_ascii(text: str) -> str:
    """Returns the text with digits, signs and separators of other scripts replaced by ASCII, one character for one."""
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text).translate(_TO_ASCII)


def number_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields the start and end of each number in a text, in order."""
    for match in _ANY_NUMBER.finditer(to_ascii(text)):
        if match["number"] is not None and _value(match) is not None:
            yield match.span()


def parse_number(text: str) -> Fraction | None:
    """Returns the value of a text that is one number, possibly with a currency or percent sign; None for any other text."""
    match = _ONLY_NUMBER.fullmatch(to_ascii(text).strip())
    return None if match is None else _value(match)


def to_number(text: str) -> float:
    """Returns the number that a text is; NaN if it is not one number, or too large for a float."""
    number = parse_number(text)
    try:
        return float("nan") if number is None else float(number)
    except OverflowError:
        return float("nan")


def _value(match: re.Match[str]) -> Fraction | None:
    """Returns the value of a match of _NUMBER; None if it has none (`1/0`) or exceeds LIMIT."""
    absolute = _absolute_value(match)
    if absolute is None:
        return None
    negative = re.match(rf"(?i)(?:[-–]|negative|minus|{_CURRENCY} ?-)", match[0]) is not None
    return (-absolute if negative else absolute) * Fraction(10) ** _MAGNITUDES[(match["magnitude"] or "").lower()]


def _absolute_value(match: re.Match[str]) -> Fraction | None:
    """Returns the value without its sign and a magnitude word such as `million`."""
    if len(match[0]) > LIMIT:
        return None
    numerator, denominator = match["upper"] or match["above"], match["lower"] or match["below"]
    integer = int(match["whole"] or 0)
    if match["vulgar"]:
        return integer + Fraction(unicodedata.numeric(match["vulgar"])).limit_denominator(10)
    if numerator:
        return integer + Fraction(int(numerator), int(denominator)) if int(denominator) else None
    power = match["power"] or match["exponent"] or match["times"] or match["raised"] or match["times_raised"] or "0"
    exponent = int(power.translate(_FROM_SUPERSCRIPT))
    return Fraction(_decimal_digits(match)) * Fraction(10) ** exponent if abs(exponent) <= LIMIT else None


def _decimal_digits(match: re.Match[str]) -> str:
    """Returns the digits before a power of ten, with a decimal point, without thousands separators; `1` if there are none."""
    if match["comma"]:
        return ".".join(re.sub(r"[^0-9]", "", part) for part in match["comma"].rsplit(",", 1))
    if match["dots"]:
        return match["dots"].replace(".", "")
    return re.sub(r"[^0-9.]", "", match["point"]) if match["point"] else "1"
