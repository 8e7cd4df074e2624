"""The application: the API below /api/v1, the page on everything else."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import to_thread
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

import wavemill
from wavemill.errors import WavemillError
from wavemill.settings import Settings
from wavemill.webhooks import start_calling
from wavemill_producer.nearest import NearestClips
from wavemill_producer.producer import Producer
from wavemill_producer.web import api, operations, pages, sign_in
from wavemill_producer.web.answers import Json, answer_error
from wavemill_producer.web.bulk_runner import BulkRunner
from wavemill_producer.web.exposition import RecentFigures
from wavemill_producer.web.feed import Feed
from wavemill_producer.web.keyring import Keyring
from wavemill_producer.web.options import WebOptions
from wavemill_producer.web.picture_cache import PictureCache
from wavemill_producer.web.security import Security
from wavemill_producer.web.shared import Shared

STATIC = Path(__file__).with_name("static")


def create_app(settings: Settings, options: WebOptions | None = None) -> FastAPI:
    """Return the application. It holds one `Producer`, as `app.state.producer`, while it runs.

    `app.state.feed` tells listeners what changes in the table; `app.state.pictures` draws sounds;
    `app.state.bulk` runs bulk actions.
    """
    chosen = options or WebOptions()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with Producer(settings, patience_s=0.0) as producer:
            app.state.producer = producer
            app.state.feed = Feed(producer, app.state.keyring)
            app.state.bulk = BulkRunner(producer)
            app.state.shared = Shared(app.state.feed)
            ended = threading.Event()
            start_calling(producer.database, settings.webhook_secret, ended)
            try:
                yield
            finally:
                ended.set()
                await app.state.feed.close()
                await to_thread.run_sync(app.state.bulk.close)

    app = FastAPI(
        title="wavemill",
        version=wavemill.__version__,
        lifespan=lifespan,
        root_path=chosen.root_path,
        docs_url=None,  # these pages load scripts from another host
        redoc_url=None,
        openapi_url=None,  # served below /api/v1, to callers who may read
        default_response_class=Json,
    )
    app.state.settings = settings
    app.state.options = chosen
    app.state.keyring = Keyring(lambda: app.state.producer.database)
    app.state.figures = RecentFigures()
    app.state.pictures = PictureCache(settings.home / "web-cache")
    app.state.nearest_clips = NearestClips()
    for error in (WavemillError, RequestValidationError, HTTPException):
        app.add_exception_handler(error, answer_error)
    app.include_router(api.router, prefix="/api/v1")
    app.include_router(sign_in.router)
    app.include_router(operations.router)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Security, keyring=app.state.keyring, options=chosen)
    return app
