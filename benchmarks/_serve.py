"""What every server of a benchmark does with its application."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web


async def serve(application: web.Application) -> None:
    """Print the port, and serve until standard input ends: whoever started this is gone then."""
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()
