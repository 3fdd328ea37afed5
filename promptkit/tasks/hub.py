"""Whether the Hugging Face hub can be reached, found out in seconds: its client would retry for half a minute.

Knows nothing of what is fetched. Where the hub is out of reach its client is told so, and then takes what it has cached.
"""

from __future__ import annotations

import os
import socket
import sys
from urllib.parse import urlsplit

PATIENCE = 3.0
"""Seconds to wait for a connection."""


def go_offline_if_unreachable() -> None:
    """Put the hub's client offline where no connection to the hub can be made."""
    settled = "HF_HUB_OFFLINE" in os.environ or any(
        os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")
    )
    if not settled and not _reachable(os.environ.get("HF_ENDPOINT", "https://huggingface.co")):
        os.environ["HF_HUB_OFFLINE"] = "1"
        for module, setting in (("huggingface_hub.constants", "HF_HUB_OFFLINE"), ("datasets.config", "HF_HUB_OFFLINE")):
            if module in sys.modules:  # it read the environment when it was imported
                setattr(sys.modules[module], setting, True)


def _reachable(endpoint: str) -> bool:
    address = urlsplit(endpoint)
    try:
        with socket.create_connection(
            (address.hostname or "", address.port or (80 if address.scheme == "http" else 443)), timeout=PATIENCE
        ):
            return True
    except OSError:
        return False
