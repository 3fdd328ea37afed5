"""Turns a page into one HTML file that executes nothing but the scripts of this package.

A content security policy allows the style sheet and the scripts by their hashes, and nothing else: no other script, no event
handler in an attribute, no evaluation of texts, no request. Vega compiles its expressions with `Function` by default, which the
policy forbids; the option `ast` makes it interpret them. All texts are escaped.
"""

from __future__ import annotations

import json
from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.core.version import __version__
from promptkit.reports.blocks import Page
from promptkit.reports.bundle import javascript
from promptkit.reports.vega import CONFIG

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES = Path(__file__).parent / "templates"
PAGE, STYLE = "page.html", "style.css"
CHARTS, BROWSER, COPY = "charts.js", "browser.js", "copy.js"


def to_html(page: Page) -> bytes:
    """Returns a page as an HTML file in UTF-8; the same page gives the same bytes.

    Raises:
        MissingPackage: vl-convert-python is not installed, and the page has charts.
    """
    from markupsafe import Markup

    charts = [dict(chart.spec) for chart in page.charts]
    has_items = any(block.kind == "items" for section in page.sections for block in section.blocks)
    scripts = [_source(COPY), *([javascript(), _source(CHARTS)] if charts else []), *([_source(BROWSER)] if has_items else [])]
    style = _source(STYLE)
    content = _template().render(
        page=page,
        policy=_policy(scripts, style),
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        charts=Markup(_script_json({"config": CONFIG, "charts": charts})),
        version=__version__,
    )
    return content.encode("utf-8", errors="replace")  # lone surrogates have no form in UTF-8


@lru_cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    return environment.get_template(PAGE)


@lru_cache
def _source(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


def _script_json(value: object) -> str:
    """Returns JSON that ends no script element."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(scripts: list[str], style: str) -> str:
    allowed = " ".join(map(_hash, scripts))
    sources = f"script-src {allowed}; style-src {_hash(style)}; img-src data:"
    return f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
