"""torchvision's published weights: fetched once, kept where torch keeps them, and never taken for what they are not."""

from __future__ import annotations

import http.client
import socket
import sys
import time
from pathlib import Path
from typing import Any

import torch

from tlfw.backbones.weights import WeightsFile
from tlfw.errors import ConfigError

PATIENCE = 30.0
"""Seconds that a server may be silent."""


def fetch(published: Any) -> Path:
    """Torchvision's own file, where torch keeps what it downloads; downloaded if it is not there.

    A download appears under its name when it is whole and its hash is right, and never before.

    Args:
        published: a member of one of torchvision's weights enums.

    Raises:
        ConfigError: it cannot be downloaded, or the file that is there is not what was published.
    """
    name = published.url.rsplit("/", 1)[1]
    place = Path(torch.hub.get_dir()) / "checkpoints" / name
    hashed = torch.hub.HASH_REGEX.search(name)
    start = hashed.group(1) if hashed else ""
    if not place.exists() and (problem := _download(published, place, start)):
        raise ConfigError(
            "weights",
            f"{published.name} could not be downloaded from {published.url} ({str(problem) or 'no answer'}).",
            f"Put that file, under its name, into {place.parent}, or give the path of another.",
        ) from problem
    if not WeightsFile.at(place).sha256.startswith(start):
        raise ConfigError(
            "weights",
            f"{place} is damaged: it is not the file that was published.",
            "Delete it, and it is downloaded again.",
        )
    return place


_FAILED: dict[Path, tuple[float, Exception]] = {}
"""When a download failed, and why: the jobs of a sweep do not each wait for the same silent server."""


def _download(published: Any, place: Path, start: str) -> Exception | None:
    when, problem = _FAILED.get(place, (0.0, None))
    if problem and time.monotonic() - when < 2 * PATIENCE:
        return problem
    print(f"downloading {published.url} ({published.meta['_file_size']:.0f} MB) to {place.parent}", flush=True)
    patience = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(PATIENCE)  # torch would wait for ever
        place.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(published.url, str(place), start, progress=sys.stderr.isatty())
    except (OSError, http.client.HTTPException, RuntimeError) as failed:
        _FAILED[place] = time.monotonic(), failed
        return failed
    finally:
        socket.setdefaulttimeout(patience)
    return None
