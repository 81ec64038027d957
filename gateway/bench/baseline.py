"""What posts are measured against: a bare handler that awaits one publish, and nothing else.

    python -m gateway.bench.baseline <directory>

The broker is the same program with the same configuration as a node's (`sync_interval: always`);
the client is nats-py, the framework aiohttp on uvloop. No rights, no folds, no tables.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import uvloop
from aiohttp import web

from bus.attachment import prepared
from bus.connection import connected
from bus.server import broker
from schemas.settings import Settings

SUBJECT = "evt.message.general.baseline"


async def _main(directory: Path) -> None:
    settings = Settings(data_directory=directory)
    async with broker(settings) as running:
        await prepared(running.endpoint, settings, ())
        async with connected(running.endpoint, "actors", settings) as connection:
            jetstream = connection.client.jetstream()

            async def post(request: web.Request) -> web.Response:
                stored = await jetstream.publish(SUBJECT, await request.read())
                body = b'{"seq":%d}' % stored.seq
                return web.Response(status=201, body=body, content_type="application/json")

            app = web.Application()
            app.router.add_post("/", post)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
            host, port = runner.addresses[0][:2]
            sys.stdout.write(json.dumps({"host": host, "port": port}) + "\n")
            sys.stdout.flush()
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
            await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(_main(Path(sys.argv[1])))
