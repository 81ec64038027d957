"""An external broker as the settings name it: its servers, who signs in there, whom we trust."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import get_args

from bus.client import place
from bus.logins import LoginUnusable, logins
from bus.roles import Endpoint, Role
from bus.servers import Servers
from schemas.servers import server_urls
from schemas.settings import Settings


def external_endpoint(settings: Settings) -> Endpoint:
    """The broker at `nats_url`. Blocks; raises `bus.logins.LoginUnusable`.

    The role `system` may sign in elsewhere (`nats_system_url`); with a user for every role it
    signs in with its own, where all do.
    """
    urls = server_urls(settings.nats_url)
    system = server_urls(settings.nats_system_url)
    kept = {}
    if settings.nats_credentials:
        path = Path(settings.nats_credentials).expanduser()
        roles = [role for role in get_args(Role) if role != "system" or not system]
        kept = dict(logins(path, roles))
    return Endpoint(
        "nats://" + ",".join(place(url) for url in urls),
        {},
        settings.log_bytes_max,
        Servers(urls),
        Servers(system) if system else None,
        kept,
        _trust(settings, (*urls, *system)),
    )


def _trust(settings: Settings, urls: tuple[str, ...]) -> ssl.SSLContext | None:
    """Whom we believe and how we show who we are; None where TLS is not asked for."""
    files = (settings.nats_tls_ca, settings.nats_tls_certificate, settings.nats_tls_key)
    if not any(files) and not any(url.startswith("tls:") for url in urls):
        return None
    ca, certificate, key = (str(Path(one).expanduser()) if one else None for one in files)
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate:
            context.load_cert_chain(certificate, key)
    except OSError as error:
        named = ", ".join(filter(None, files))
        raise LoginUnusable(f"nats_tls_*: {named} cannot be used: {error}") from error
    return context
