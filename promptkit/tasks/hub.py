"""Switches the client of the Hugging Face hub to offline mode if the hub cannot be reached.

The client itself retries for half a minute. In offline mode it uses its cache at once.
"""

from __future__ import annotations

import os
import socket
import sys
from urllib.parse import urlsplit

TIMEOUT = 3.0
"""Seconds to wait for a connection."""


def go_offline_if_unreachable() -> None:
    """Sets HF_HUB_OFFLINE if the hub cannot be reached, unless it is set or a proxy is configured."""
    has_proxy = any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"))
    if "HF_HUB_OFFLINE" in os.environ or has_proxy:
        return
    if not _reachable(os.environ.get("HF_ENDPOINT", "https://huggingface.co")):
        os.environ["HF_HUB_OFFLINE"] = "1"
        for module in ("huggingface_hub.constants", "datasets.config"):
            if module in sys.modules:  # modules that are already imported do not read the environment again
                vars(sys.modules[module])["HF_HUB_OFFLINE"] = True


def _reachable(endpoint: str) -> bool:
    url = urlsplit(endpoint)
    address = (url.hostname or "", url.port or (80 if url.scheme == "http" else 443))
    try:
        with socket.create_connection(address, timeout=TIMEOUT):
            return True
    except OSError:
        return False
