"""A client of the HTTP API for programs that run on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from json import JSONDecodeError
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote
from uuid import uuid4

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from wavemill.errors import NotFoundError, OutageError, UsageError, WavemillError

PATIENCE_S = 30.0
_TIMEOUT_S = 30.0
_LONGEST_PAUSE_S = 5.0
_PIECE = 2**18  # bytes
_PAGE = 500  # jobs
Which = Literal["generated", "original"]


class ApiError(WavemillError):
    """The server refused a request; `status` is the HTTP status, such as 401 without a valid token."""

    code = "api"

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class AsyncClient:
    """Calls the HTTP API of `wavemill web` or `wavemill up`. Answers are as `/api/v1/openapi.json` describes them.

    Requests that are safe to repeat are repeated while the server or its table does not answer. A
    submission is one of them: it carries an idempotency key.

    Methods raise NotFoundError, UsageError, OutageError or ApiError.

    Examples
    --------
    >>> async with AsyncClient("http://127.0.0.1:8642", token="wm_...") as client:
    ...     batch_id = await client.submit("sample", model="fsdd-vae", count=20, output="out")
    ...     await client.wait(batch_id)
    ...     async for job in client.jobs(batch_id, where=["state=done"], sort="-peak"):
    ...         Path(f"{job['id']}.wav").write_bytes(await client.audio(job["id"]))

    Parameters
    ----------
    url : str
        Address of the page, without `/api/v1`.
    token : str, optional
        From `wavemill token create`; a server on this machine may need none.
    patience_s : float
        How long to repeat a request before raising, in seconds.
    """

    def __init__(self, url: str, *, token: str | None = None, patience_s: float = PATIENCE_S) -> None:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._http = httpx.AsyncClient(base_url=f"{url.rstrip('/')}/api/v1/", headers=headers, timeout=_TIMEOUT_S)
        self._patience_s = patience_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def submit(self, operation: str, *, key: str | None = None, **request: Any) -> str:
        """Queue a batch and return its ID; `request` has the fields of `POST /batches`, such as `output`.

        The same `key` with the same request returns the same batch. Without one, each call makes a batch.
        """
        headers = {"idempotency-key": key or f"client-{uuid4()}"}
        made = await self._json("POST", "batches", json={"operation": operation, **request}, headers=headers)
        return str(made["batch_id"])

    async def batches(self, *, tags: Mapping[str, str] | None = None) -> AsyncIterator[dict[str, Any]]:
        """Yield the statuses of all batches, or of those that have all `tags`, newest first."""
        params = {"tag": [f"{key}={value}" for key, value in (tags or {}).items()]}
        async for batch in self._pages("batches", "before", params):
            yield batch

    async def batch(self, batch_id: str) -> dict[str, Any]:
        """Return a batch's status, as `Batch.status` does."""
        return await self._json("GET", _path(batch_id))

    async def wait(self, batch_id: str, *, poll_s: float = 1.0) -> dict[str, Any]:
        """Wait until every job of a batch is final; return its status."""
        while (status := await self.batch(batch_id))["finished_at"] is None:
            await asyncio.sleep(poll_s)
        return status

    async def jobs(
        self, batch_id: str | None = None, *, where: Sequence[str] = (), sort: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the jobs of one batch, or of all, that meet the conditions `where`; see `Producer.jobs`."""
        params = {"batch": batch_id, "where": list(where), "sort": sort, "limit": _PAGE}
        async for job in self._pages("jobs", "after", params):
            yield job

    async def job(self, job_id: int) -> dict[str, Any]:
        """Return one job with its batch's request and every attempt."""
        return await self._json("GET", f"jobs/{job_id}")

    async def audio(self, job_id: int, which: Which = "generated") -> bytes:
        """Return the bytes of a job's sound file."""
        return (await self._request("GET", f"jobs/{job_id}/audio/{which}")).content

    async def rate(self, job_id: int, rating: int | None) -> None:
        """Rate a job's sound from 1 to 5, or None to take the rating away."""
        await self._request("PUT", f"jobs/{job_id}/rating", json={"rating": rating})

    async def cancel(self, batch_id: str) -> int:
        """Cancel a batch's unfinished jobs; return how many were still queued."""
        return int((await self._json("POST", _path(batch_id, "cancel")))["cancelled"])

    async def pause(self, batch_id: str) -> None:
        """Start no more jobs of a batch."""
        await self._request("POST", _path(batch_id, "pause"))

    async def resume(self, batch_id: str) -> None:
        """Resume a paused batch."""
        await self._request("POST", _path(batch_id, "resume"))

    async def retry(self, batch_id: str, *, only_failed: bool = False, where: Sequence[str] = ()) -> int:
        """Queue failed and cancelled jobs again; return how many. This is not repeated, as a job may fail meanwhile."""
        params = {"failed": only_failed, "where": list(where)}
        answer = await self._once("POST", _path(batch_id, "retry"), params=params)
        return int(answer.json()["retried"])

    async def export(self, batch_id: str, path: str | Path, *, format: str = "csv") -> Path:  # noqa: A002
        """Write a batch's jobs as csv, jsonl or parquet, or its outputs as zip, to a file; return its path.

        The file appears when it is complete.
        """
        target = Path(path)
        aside = target.with_name(f".{target.name}.part")
        url = _path(batch_id, "export")
        try:
            async with self._http.stream("GET", url, params={"format": format}, timeout=None) as answer:
                if answer.is_error:
                    await answer.aread()
                    _require_success(answer)
                with aside.open("wb") as file:
                    async for piece in answer.aiter_bytes(_PIECE):
                        file.write(piece)
            aside.replace(target)
        except httpx.TransportError as exc:
            raise _no_answer(self._http, exc) from exc
        finally:
            aside.unlink(missing_ok=True)
        return target

    async def _pages(self, path: str, cursor: str, params: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        asked = {name: value for name, value in params.items() if value is not None}
        while True:
            page = await self._json("GET", path, params=asked)
            for one in page[path]:
                yield one
            if page[cursor] is None:
                return
            asked[cursor] = page[cursor]

    async def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        found: dict[str, Any] = (await self._request(method, path, **options)).json()
        return found

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Make a request, and repeat it while nobody answers."""
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(OutageError),
            wait=wait_random_exponential(multiplier=0.2, max=_LONGEST_PAUSE_S),
            stop=stop_after_delay(self._patience_s),
            reraise=True,
        )
        return await attempts(self._once, method, path, **options)

    async def _once(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = await self._http.request(method, path, **options)
        except httpx.TransportError as exc:
            raise _no_answer(self._http, exc) from exc
        _require_success(answer)
        return answer


def _path(batch_id: str, *rest: str) -> str:
    return "/".join(["batches", quote(batch_id, safe=""), *rest])  # it may be a name, with any character


def _no_answer(http: httpx.AsyncClient, exc: httpx.TransportError) -> OutageError:
    return OutageError(f"{http.base_url} does not answer: {type(exc).__name__}: {exc}")


def _require_success(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    try:
        sentence = str(answer.json()["error"]["message"])
    except (JSONDecodeError, KeyError, TypeError):  # from a proxy
        sentence = f"{answer.url} answered {answer.status_code} {answer.reason_phrase}"
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise NotFoundError(sentence)
    if answer.status_code in {httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY}:
        raise UsageError(sentence)
    if answer.status_code in {httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT}:
        raise OutageError(sentence)
    raise ApiError(answer.status_code, sentence)
