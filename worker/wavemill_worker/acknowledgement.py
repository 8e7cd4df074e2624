"""Acknowledging a message to a broker that is gone."""

from __future__ import annotations

from kombu.transport import redis


class LocalFirst(redis.QoS):  # type: ignore[misc]  # kombu has no types
    """Lets go of a message also where the broker could not be told.

    kombu keeps counting it as in hand, Celery logs "Couldn't ack" and goes on. With one message in hand at most, the
    worker then never asks for another, and so never even notices that its connection was lost. A message that the
    broker still holds comes a second time, and finds nothing to do.
    """

    def ack(self, delivery_tag: str) -> None:
        """Tell the broker; forget the message whether or not it heard."""
        try:
            super().ack(delivery_tag)
        except Exception:
            super(redis.QoS, self).ack(delivery_tag)
            raise


def install() -> None:
    """Use it for every connection of this process, whatever kind of Redis URL it has."""
    redis.Channel.QoS = LocalFirst
