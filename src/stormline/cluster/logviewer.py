"""Worker logs over HTTP, where the cluster runs Storm's logviewer: no ssh, but running workers' logs alone, whole."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from typing import Final

from stormline.core.errors import ServerError

_LIMIT_S: Final = 30.0


def content(host: str, logviewer_port: int, topology_id: str, worker_port: int) -> str:
    """The worker.log of one worker. Raises ServerError."""
    file = urllib.parse.quote(f"{topology_id}/{worker_port}/worker.log", safe="")
    url = f"http://{host}:{logviewer_port}/api/v1/download?file={file}"
    try:
        with urllib.request.urlopen(url, timeout=_LIMIT_S) as answer:
            text: bytes = answer.read()
    except urllib.error.HTTPError as error:
        raise ServerError(f"the logviewer says {error.code} {error.reason} to {url}") from error
    except OSError as error:
        raise ServerError(
            f"no logviewer at {host}:{logviewer_port} ({getattr(error, 'reason', None) or error}): "
            'without "logviewer.port" in the environment the logs are read through ssh'
        ) from error
    return text.decode(errors="replace")
