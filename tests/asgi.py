"""Asking an ASGI application without a network."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from starlette.types import ASGIApp

ADDRESS = "192.0.2.1"


def ask(app: ASGIApp, path: str, method: str = "GET", **options: Any) -> httpx.Response:
    """One request from `ADDRESS` and its whole answer."""
    return asyncio.run(ask_async(app, path, method, **options))


async def ask_async(app: ASGIApp, path: str, method: str = "GET", **options: Any) -> httpx.Response:
    """As `ask`, in a running event loop."""
    transport = httpx.ASGITransport(app, client=(ADDRESS, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, path, **options)
