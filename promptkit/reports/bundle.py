"""The JavaScript of Vega-Lite, which draws the charts of a page in the browser.

The package vl-convert-python contains Vega, Vega-Lite and Vega-Embed. Joining them takes a second or more, so that the result
is kept in the cache folder, under the version of the package.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from promptkit.core.errors import missing_extra
from promptkit.core.files import write_atomically
from promptkit.core.paths import cache_folder

PACKAGE = "vl-convert-python"
_START = "/* Vega, Vega-Lite and Vega-Embed: BSD-3-Clause */\n"


def javascript() -> str:
    """Returns the program that defines `window.vegaEmbed`.

    Raises:
        MissingPackage: vl-convert-python is not installed.
    """
    try:
        file = cache_folder() / "reports" / f"vega-{version(PACKAGE)}.js"
    except PackageNotFoundError:
        raise missing_extra(PACKAGE, "report", "A report") from None
    with suppress(OSError, UnicodeDecodeError):
        cached = file.read_text("utf-8")
        if cached.startswith(_START):
            return cached
    import vl_convert

    text = _START + str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).replace("</script", "<\\/script")
    with suppress(OSError):  # the next report joins them again
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text.encode())
    return text
