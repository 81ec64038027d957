"""The files of `static/`: read once when the node starts, served from memory.

Each has the hash of its bytes as ETag and is revalidated at every use, so that a browser never
mixes the pages of two versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from mimetypes import guess_type
from pathlib import Path

from aiohttp import web

from gateway.errors import refuse

STATIC = Path(__file__).parent / "static"
TEXT = ("text/", "application/javascript", "application/json", "image/svg+xml")


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, ready to be sent."""

    body: bytes
    media_type: str
    tag: str

    def answer(self, request: web.Request) -> web.Response:
        """The file, or word that the browser has it already."""
        headers = {"Content-Type": self.media_type, "ETag": self.tag, "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == self.tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=self.body, headers=headers)


Assets = Mapping[str, Asset]
"""The files by their path below `static/`, with slashes."""

ASSETS = web.AppKey("assets", Assets)


def read_assets(folder: Path = STATIC) -> Assets:
    """Every file below *folder*."""
    return {
        path.relative_to(folder).as_posix(): _asset(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    media_type = guess_type(path.name)[0] or "application/octet-stream"
    charset = "; charset=utf-8" if media_type.startswith(TEXT) else ""
    return Asset(body, media_type + charset, f'"{blake2b(body, digest_size=8).hexdigest()}"')


async def serve_asset(request: web.Request) -> web.StreamResponse:
    """The file that the path names. Raises `Refused` (not_found)."""
    found = request.app[ASSETS].get(request.match_info["name"])
    if found is None:
        raise refuse("not_found")
    return found.answer(request)
