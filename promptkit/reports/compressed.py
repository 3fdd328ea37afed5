"""Compresses the data of a page, which `DecompressionStream` reads in the browser."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode


def packed(value: object) -> str:
    """Returns a value as JSON, compressed with gzip, in base64; equal values give equal texts."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Lone surrogates, which rows can contain, have no form in UTF-8.
    content = text.encode("utf-8", errors="replace")
    return b64encode(gzip.compress(content, compresslevel=9, mtime=0)).decode("ascii")
