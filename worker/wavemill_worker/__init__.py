"""The worker: Celery processes that render chunks, each pinned to one device."""
