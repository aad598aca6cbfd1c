"""The keys that messages and outcomes are signed with: HMAC-SHA256, a ring of them, so that they can be changed.

The first key of a ring signs, all of it verify. A secret never stands in a repr, a log line or an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from taskq.errors import ConfigurationError

MAC_BYTES = 32
_SHORTEST = 32
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_HOW = "`taskq keys new` prints a fresh one"

VARIABLE = "TASKQ_SIGNING_KEYS"
FILE_VARIABLE = "TASKQ_SIGNING_KEYS_FILE"


class KeyRing:
    """Secrets by their key ids. Two rings of the same keys in the same order are equal."""

    __slots__ = ("_hmac", "_secrets", "signer")

    def __init__(self, keys: Mapping[str, str | bytes]) -> None:
        import hmac  # programs without keys start without it

        self._hmac = hmac
        if not keys:
            raise ConfigurationError(f"signing_keys has no key: leave it out, or give one; {_HOW}")
        self._secrets = {check_key_id(id): _checked(id, secret) for id, secret in keys.items()}
        self.signer = next(iter(self._secrets))
        """The id of the key that signs."""

    @classmethod
    def parse(cls, text: str, source: str) -> KeyRing:
        """Read `id:secret,id:secret`; lines may stand for commas, and `#` begins a comment line.

        Raises:
            ConfigurationError: it cannot be read; the message names `source`, and never a secret.
        """
        found: dict[str, str | bytes] = {}
        lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
        entries = [entry.strip() for line in lines for entry in line.split(",")]
        for number, entry in enumerate(filter(None, entries), 1):
            id, colon, secret = entry.partition(":")
            if not colon:
                raise ConfigurationError(f"{source}: entry {number} has no ':', write id:secret; {_HOW}")
            if id in found:
                raise ConfigurationError(f"{source}: the key id {id!r} stands there twice")
            found[id] = secret.strip()
        return cls(found)

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._secrets)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeyRing):
            return NotImplemented
        return [*self._secrets.items()] == [*other._secrets.items()]

    def __hash__(self) -> int:
        return hash(tuple(self._secrets.items()))

    def __contains__(self, id: str) -> bool:
        return id in self._secrets

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, the one that signs first."""
        return tuple(self._secrets)

    def sign(self, data: bytes) -> bytes:
        """Give the MAC of `data` by the first key."""
        return self._hmac.digest(self._secrets[self.signer], data, "sha256")

    def verifies(self, id: str, mac: bytes, data: bytes) -> bool:
        """Say whether `mac` is that of `data` by the key `id`, which the ring must have."""
        return self._hmac.compare_digest(mac, self._hmac.digest(self._secrets[id], data, "sha256"))


def key_ring(given: Mapping[str, str | bytes] | str | None) -> KeyRing | None:
    """Read what code gives as keys; nothing is no keys.

    Raises:
        ConfigurationError: it cannot be meant.
    """
    if given is None:
        return None
    return KeyRing.parse(given, "signing_keys") if isinstance(given, str) else KeyRing(given)


def check_key_id(id: str) -> str:
    """Return `id` if it may name a key.

    Raises:
        ConfigurationError: it is empty, over 32 characters, or has others than letters, digits and `_.-`.
    """
    if not isinstance(id, str) or not _KEY_ID.fullmatch(id):
        # A secret that stands in the wrong place must not be shown.
        raise ConfigurationError(
            "a key id is 1 to 32 letters, digits, '_', '.' or '-', followed by its secret"
        )
    return id


def is_key_id(id: str) -> bool:
    """True if `id` may name a key."""
    return bool(_KEY_ID.fullmatch(id))


def _checked(id: str, secret: str | bytes) -> bytes:
    if not isinstance(secret, (str, bytes)):
        raise ConfigurationError(f"the secret of signing key {id!r} is neither text nor bytes; {_HOW}")
    # A variable may hold bytes that are no text: they come as lone surrogates, and go as they came.
    data = secret.encode("utf-8", "surrogateescape") if isinstance(secret, str) else bytes(secret)
    if len(data) < _SHORTEST:
        raise ConfigurationError(
            f"the secret of signing key {id!r} has {len(data)} bytes; {_SHORTEST} random ones are the least: {_HOW}"
        )
    return data


KNOWS_KEY = "taskq.key:"
"""With a key's id behind it, the task name under which workers register that they have the key, and under which is
parked what only they can verify: it runs once one of them starts."""


def new_key(id: str) -> str:
    """Make a fresh key, as `TASKQ_SIGNING_KEYS` takes it: 256 random bits."""
    import secrets

    return f"{check_key_id(id)}:{secrets.token_urlsafe(32)}"


def keys_from(environ: Mapping[str, str] | None = None) -> KeyRing | None:
    """Read the keys that the environment names, None if it names none.

    Raises:
        ConfigurationError: they cannot be read, or stand in both variables.
    """
    environ = os.environ if environ is None else environ
    text, file = environ.get(VARIABLE), environ.get(FILE_VARIABLE)
    if text and file:
        raise ConfigurationError(f"{VARIABLE} and {FILE_VARIABLE} are both set: give the keys in one of them")
    if text:
        return KeyRing.parse(text, VARIABLE)
    if not file:
        return None
    try:
        with open(file, encoding="utf-8") as lines:  # noqa: PTH123 - pathlib is slow to import
            text = lines.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{FILE_VARIABLE}={file} cannot be read: {type(error).__name__}") from None
    return KeyRing.parse(text, file)
