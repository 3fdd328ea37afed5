"""A web service that predicts rows with a saved predictor.

    pip install --editable '.[service]'
    PREDICTOR=my-predictor uvicorn service:app --app-dir examples

Requests that arrive together are predicted together: a row waits at most `WAIT` seconds for others, and a batch has at most
`BATCH` rows. The model runs in one thread, so that the service answers health checks meanwhile.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

import promptkit as pk

BATCH = 32
"""The most rows of a batch."""
WAIT = 0.005
"""Seconds that a row waits for others."""
QUEUE = 4096
"""The most rows that wait; further ones are refused with the status 503."""

Row = dict[str, Any]


class Request(BaseModel):
    """The rows to predict, with the columns of the predictor."""

    rows: list[Row]


class Answer(BaseModel):
    """The prediction for one row."""

    prediction: str | None
    """The predicted label, or None if the predictor abstains or the row cannot be read."""
    probability: float | None
    probabilities: dict[str, float]
    abstained: bool
    error: str | None
    """Why the row cannot be read."""


class Response(BaseModel):
    """The predictions, in the order of the rows."""

    predictions: list[Answer]


@dataclass(frozen=True)
class Batches:
    """Collects rows of several requests and predicts them together."""

    predictor: pk.Predictor
    threshold: float | None = None
    """Rows whose likeliest label has a smaller probability are not answered."""
    waiting: asyncio.Queue[tuple[Row, asyncio.Future[Answer]]] = field(default_factory=lambda: asyncio.Queue(QUEUE))

    async def answers(self, rows: list[Row]) -> list[Answer]:
        """Returns the prediction for each row."""
        if self.waiting.qsize() + len(rows) > QUEUE:
            raise HTTPException(503, "Too many rows are waiting; try again later")
        futures: list[asyncio.Future[Answer]] = [asyncio.get_running_loop().create_future() for _ in rows]
        for item in zip(rows, futures, strict=True):
            self.waiting.put_nowait(item)
        return await asyncio.gather(*futures)

    async def run(self) -> None:
        """Predicts one batch after another, until it is cancelled."""
        while True:
            batch = [await self.waiting.get()]
            with suppress(TimeoutError):
                async with asyncio.timeout(WAIT):
                    while len(batch) < BATCH:
                        batch.append(await self.waiting.get())
            await self.predict(batch)

    async def predict(self, batch: list[tuple[Row, asyncio.Future[Answer]]]) -> None:
        """Predicts a batch and answers the requests that its rows are from."""
        try:
            answers = await asyncio.to_thread(self.predict_rows, [row for row, _ in batch])
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():  # its client has gone
                future.set_result(answer)

    def predict_rows(self, rows: list[Row]) -> list[Answer]:
        """Predicts rows, in a thread."""
        predictions = self.predictor.predict(rows, threshold=self.threshold)
        return [Answer.model_validate(prediction, from_attributes=True) for prediction in predictions]


def create_app(predictor: pk.Predictor, *, threshold: float | None = None) -> FastAPI:
    """Creates the service.

    Args:
        predictor: A fitted predictor.
        threshold: Rows whose likeliest label has a smaller probability are not answered.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.batches = Batches(predictor, threshold)
        task = asyncio.create_task(app.state.batches.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    app = FastAPI(title="promptkit", lifespan=lifespan)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "model": predictor.model.name, "labels": predictor.reader.labels}

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        return Response(predictions=await app.state.batches.answers(request.rows))

    return app


def __getattr__(name: str) -> FastAPI:
    """Loads the predictor when a server asks for `app`, so that tests can import this module without one."""
    if name != "app":
        raise AttributeError(name)
    threshold = os.environ.get("THRESHOLD")
    return create_app(pk.Predictor.load(os.environ["PREDICTOR"]), threshold=float(threshold) if threshold else None)
