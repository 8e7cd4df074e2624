"""The heavy side: the Celery worker that renders chunks, pinned to one device each."""
