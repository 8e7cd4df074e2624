"""Signs webhooks as the Standard Webhooks specification 1.0 has it (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac

PREFIX = "whsec_"  # of a secret
_FEWEST_BYTES, _MOST_BYTES = 24, 64  # of a secret, as the specification has it


def webhook_key(secret: str) -> bytes:
    """Return the key that a secret such as `whsec_MfKQ...` holds; ValueError says what was expected."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:  # also for characters that are not ASCII
        key = b""
    if not secret.startswith(PREFIX) or not _FEWEST_BYTES <= len(key) <= _MOST_BYTES:
        raise ValueError(
            f"expected {PREFIX} and {_FEWEST_BYTES} to {_MOST_BYTES} random bytes in base64, "
            f'such as from: echo "{PREFIX}$(openssl rand -base64 32)"'
        )
    return key


def signature(key: bytes, message_id: str, sent_at: int, body: bytes) -> str:
    """Return the signature of a call, for its header `webhook-signature`.

    Parameters
    ----------
    sent_at : int
        Seconds since 1970, as the header `webhook-timestamp` has it.
    """
    signed = b".".join([message_id.encode(), str(sent_at).encode(), body])
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
