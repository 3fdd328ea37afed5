"""Numbers as people and models write them: where they stand in a text, and what they are worth.

Signs, thousands set apart as in several countries, decimals, fractions, powers of ten, currencies, the digits of every
script. A date, a time of day and a version hold digits and are no numbers. Where a comma or a space may stand between two
numbers as well (1,2 and 5 100), it does. Knows nothing of answers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction

WIDEST = 400
"""Characters, and powers of ten, beyond which a text is no number that an answer would be."""

_SAME = str.maketrans("\u2212\u066b\u066c\u066a\u2044\u2019", "-.,%/'") | {0xFF01 + i: chr(0x21 + i) for i in range(94)}
_NARROW = "'\u00a0\u202f\u2009"
_CURRENCY = "[$£€¥₹₩₽₺₫₪₱₴₦฿¢￥￡]"
_VULGAR = "[¼½¾⅐-⅞]"
_RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_MAGNITUDES = {"": 0, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|June?|July?|Aug|Sept?|Oct|Nov|Dec)[a-z]*\.?"

_POWER = r"10(?:(?:\^|\*\*)\{?(?P<%s>[-+]?\d+)\}?|(?P<%s>[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))"
_NUMBER = rf"""
    (?P<sign>(?<![A-Za-z0-9_.)%])[-+–] | \bnegative\s | (?<!\d\ )\bminus\s)?
    (?:(?:{_CURRENCY} | \b(?:USD|EUR|GBP|CHF|INR|JPY|CNY|Rs\.?))[ ]?[-+]? | (?<![A-Za-z0-9^]))
    (?<!\d\.) (?<![A-Za-z]_) (?<![\^_]\{{) (?<!\^-)
    (?:
        (?:(?P<whole>\d{{1,3}})(?:[ ]|(?=\\|{_VULGAR})))?             # 1 1/2
        (?: (?P<upper>\d+)[ ]?/[ ]?(?P<lower>\d+)(?![\d/])             # 3/4
          | \\[dt]?frac\{{(?P<above>-?\d+)\}}\{{(?P<below>\d+)\}}
          | (?P<vulgar>{_VULGAR}) )
      | {_POWER % ("power", "raised")}                                 # 10^6
      | (?: (?P<comma> \d{{1,3}}(?:[.{_NARROW}]\d{{3}})+,\d+           # 1.234,50
              | \d+,\d\d[ ]?{_CURRENCY} | (?<={_CURRENCY})\d+,\d\d(?![\d,]) )
          | (?P<dots> \d{{1,3}}(?:\.\d{{3}}){{2,}}(?![.\d]) )          # 1.234.567
          | (?P<point>
                \d{{1,3}}(?:(?:,\\!|\{{,\}}|\\,|[,{_NARROW}])\d{{3}})+(?!\d)(?:\.\d+)?
              | \d{{1,2}}(?:,\d\d)+,\d{{3}}(?!\d)(?:\.\d+)?            # 12,34,567
              | \d{{1,3}}(?:[ ]\d{{3}})*[ ]0\d\d(?:[ ]\d{{3}})*(?!\d)(?:\.\d+)?  # 12 000, as no number begins with 00
              | \d+(?:\.\d+)? | (?<![\w.])\.\d+ ) )
        (?: [eE](?P<exponent>[-+]?\d+)\b | [ ]?(?:[x×*·⋅]|\\times|\\cdot)[ ]?{_POWER % ("times", "times_raised")} )?
    )
    (?:[ ](?P<magnitude>thousand|million|billion|trillion)\b)?
"""
_NO_NUMBER = rf"""
    (?<!\d)\d{{1,4}}(?P<between>[-/.])\d{{1,2}}(?P=between)\d{{1,4}}(?!\d)   # a date
  | \b{_MONTH}\ \d{{1,2}}(?:st|nd|rd|th)?(?:,?\ \d{{4}})?\b | \b\d{{1,2}}(?:st|nd|rd|th)?\ {_MONTH}(?:,?\ \d{{4}})?\b
  | (?<!\d)\d+(?::\d+)+                                                      # a time, a ratio
  | (?<![\d.])(?!\d{{1,3}}(?:\.\d{{3}}){{2,}}(?![.\d]))\d+(?:\.\d+){{2,}}    # a version
  | (?<=\n)[ ]*\d{{1,2}}[.)](?=[ ]+\S)                                       # an item of a list
"""
_FLAGS = re.VERBOSE | re.IGNORECASE
_ANY = re.compile(f"(?:{_NO_NUMBER})|(?P<number>{_NUMBER})", _FLAGS)
_WHOLE = re.compile(rf"\\?(?:{_NUMBER})(?:[ ]?(?:\\?%|{_CURRENCY}))?\.?", _FLAGS)


def plain(text: str) -> str:
    """The text, character for character, with the digits, signs and separators of other scripts as ASCII has them."""
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text).translate(_SAME)


def places(text: str) -> Iterator[tuple[int, int]]:
    """Where the numbers of a text begin and end, in their order."""
    for match in _ANY.finditer(plain(text)):
        if match["number"] is not None and _worth(match) is not None:
            yield match.span()


def value(text: str) -> Fraction | None:
    """What a text is worth that is one number, with its currency or percent sign, and nothing else; else None."""
    match = _WHOLE.fullmatch(plain(text).strip())
    return None if match is None else _worth(match)


def _worth(match: re.Match[str]) -> Fraction | None:
    """The value of one match of _NUMBER; None if it has none, or none that could be an answer."""
    size = _size(match)
    if size is None:
        return None
    negative = re.match(rf"(?i)(?:[-–]|negative|minus|{_CURRENCY} ?-)", match[0]) is not None
    return (-size if negative else size) * Fraction(10) ** _MAGNITUDES[(match["magnitude"] or "").lower()]


def _size(match: re.Match[str]) -> Fraction | None:
    if len(match[0]) > WIDEST:
        return None
    upper, lower = match["upper"] or match["above"], match["lower"] or match["below"]
    whole = int(match["whole"] or 0)
    if match["vulgar"]:
        return whole + Fraction(unicodedata.numeric(match["vulgar"])).limit_denominator(10)
    if upper:
        return whole + Fraction(int(upper), int(lower)) if int(lower) else None
    tens = match["power"] or match["exponent"] or match["times"] or match["raised"] or match["times_raised"] or "0"
    exponent = int(tens.translate(_RAISED))
    return Fraction(_digits(match)) * Fraction(10) ** exponent if abs(exponent) <= WIDEST else None


def _digits(match: re.Match[str]) -> str:
    """The digits before the power of ten, with a point before the decimals."""
    if match["comma"]:
        return ".".join(re.sub(r"[^0-9]", "", part) for part in match["comma"].rsplit(",", 1))
    if match["dots"]:
        return match["dots"].replace(".", "")
    return re.sub(r"[^0-9.]", "", match["point"]) if match["point"] else "1"
