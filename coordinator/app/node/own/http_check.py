"""Process of a health check by HTTP: exit code 0 if the URL answers with 200 to 399.

Only the standard library is imported: it is started again for each check.
"""

from __future__ import annotations

import http.client
import sys
from urllib.parse import urlsplit


def main(argv: list[str]) -> int:
    """Ask for the URL argv[0] and wait argv[1] seconds at most; the guardian bounds the rest."""
    url, timeout_s = argv[0], float(argv[1])
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
        connection.request("GET", path, headers={"User-Agent": "coord", "Connection": "close"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        print(f"coord: health check: {url}: {error}", file=sys.stderr)
        return 1
    if 200 <= status < 400:
        return 0
    print(f"coord: health check: {url}: status {status}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
