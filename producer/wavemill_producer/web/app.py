"""The application: the API below /api/v1, the page on everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

import wavemill
from wavemill.settings import Settings
from wavemill_producer.producer import Producer
from wavemill_producer.web import api, operations, pages

STATIC = Path(__file__).with_name("static")


def create_app(settings: Settings) -> FastAPI:
    """Return the application. It holds one `Producer`, as `app.state.producer`, while it runs."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with Producer(settings, patience_s=0.0) as producer:
            app.state.producer = producer
            yield

    app = FastAPI(title="wavemill", version=wavemill.__version__, lifespan=lifespan)
    app.state.settings = settings
    app.include_router(api.router, prefix="/api/v1")
    app.include_router(operations.router)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app
