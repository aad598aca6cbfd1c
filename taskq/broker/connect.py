"""From a URL to a connection: the one factory that pins what every connection of ours has in common.

redis-py is imported when the first connection is made, never before: it costs more than all of taskq.

What is pinned, and why: RESP2 and bytes (one shape of replies, whatever redis-py's default is); no retries of
redis-py's own (they turned one enqueue into three); pools that wait in place of raising; finite timeouts; no
CLIENT SETINFO (two more round trips at each connect, refused before 7.2 and by narrow ACLs).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from taskq.errors import ConfigurationError

if TYPE_CHECKING:
    import redis.asyncio
    import redis.connection

log = logging.getLogger("taskq.broker")

_CONNECT_TIMEOUT = 5.0  # seconds for the way to the server, TLS and login included

MOST = 64
"""How many connections a pool has at most."""

POOL_WAIT = 30.0
"""How many seconds a caller waits for one of them."""

_TLS = ("rediss", "valkeys")
_SENTINEL = "redis+sentinel"
_SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix", _SENTINEL, "embedded", "memory")

_SHAPE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#\s]*)(/[^?#\s]*)?(?:\?([^#\s]*))?")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_NUMBER = re.compile(r"[0-9]{1,6}")
_MEMORY = re.compile(r"[A-Za-z0-9._-]+")

_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS_OPTIONS = (*_FILES, "ssl_ca_path", "ssl_password", "ssl_cert_reqs", "ssl_check_hostname")
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
_SECRETS = ("ssl_password", *_SENTINEL_OPTIONS)


@dataclass(frozen=True, slots=True, repr=False)
class ServerURL:
    """A parsed URL. Whatever prints it prints `masked`."""

    url: str
    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()  # of the server, or of its sentinels
    path: str = ""  # of a unix socket, an embedded server's directory, the name of one in memory
    service: str = ""  # the name by which the sentinels know the master
    db: int = 0
    username: str | None = None
    password: str | None = None
    options: tuple[tuple[str, str], ...] = ()  # by redis-py's names

    @property
    def masked(self) -> str:
        """The URL without user, password and other secrets: for people, logs and errors."""
        who = "***@" if self.username or self.password else ""
        options = [f"{name}={'***' if name in _SECRETS else value}" for name, value in self.options]
        if self.hosts:
            hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
            where = f"{hosts}/{self.service}/{self.db}" if self.service else f"{hosts}/{self.db}"
        else:
            where = self.path
            options += [f"db={self.db}"] if self.db else []
        return f"{self.scheme}://{who}{where}{'?' if options else ''}{'&'.join(options)}"

    def __str__(self) -> str:
        return self.masked

    def __repr__(self) -> str:
        return f"ServerURL({self.masked!r})"


def parse_url(url: str) -> ServerURL:
    """Read the URL of a server, of its sentinels, of an embedded server, or of one in this process's memory.

    Raises:
        ConfigurationError: it names no server that can be used; the message says what to write instead.
    """
    url = url.strip()
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise ConfigurationError("the server's URL has no scheme; write it as redis://HOST:PORT/DB")
    if scheme == "redis+cluster":
        raise ConfigurationError("taskq on Redis Cluster is not available yet; use one server or sentinel")
    if scheme not in _SCHEMES:
        raise _refused(url, f"the scheme is unknown; use one of {', '.join(s + '://' for s in _SCHEMES)}")
    shape = _SHAPE.fullmatch(url)
    if shape is None:
        raise _refused(url, "spaces and '#' have no place in a URL; percent-encode them in user and password")
    authority, path, query = (part or "" for part in shape.groups())
    userinfo, _, where = authority.rpartition("@")
    username, _, password = userinfo.partition(":")
    options = _read_options(url, scheme, query)
    username = options.pop("username", unquote(username))
    password = options.pop("password", unquote(password))

    hosts: tuple[tuple[str, int], ...] = ()
    service = db = ""
    if scheme in ("unix", "embedded"):
        path = _local_path(url, scheme, where, path)
    elif scheme == "memory":
        if path or not _MEMORY.fullmatch(where):
            raise _refused(url, "name the server in memory: memory://NAME")
        path = where
    else:
        hosts = tuple(_host_and_port(url, scheme, item) for item in where.split(","))
        if len(hosts) > 1 and scheme != _SENTINEL:
            raise _refused(url, f"several hosts go with {_SENTINEL}:// only")
        service, db, path = *_service_and_db(url, scheme, path), ""
    if scheme in ("embedded", "memory") and (options or userinfo):
        raise _refused(url, f"such a server has no user and no options; write {scheme}://{path}")
    return ServerURL(
        url=url,
        scheme=scheme,
        hosts=hosts,
        path=path,
        service=service,
        db=_database(url, options.pop("db", ""), db),
        username=username or None,
        password=password or None,
        options=tuple(options.items()),
    )


def _read_options(url: str, scheme: str, query: str) -> dict[str, str]:
    allowed = ["db", "username", "password"]
    allowed += _TLS_OPTIONS if scheme in _TLS else ()
    allowed += _SENTINEL_OPTIONS if scheme == _SENTINEL else ()
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name in _TLS_OPTIONS and name not in allowed:
            raise _refused(url, f"{name} goes with rediss:// only")
        if name not in allowed:
            # What looks like an option may be half of a password.
            plain = name.isidentifier() and options[name] and "@" not in query
            shown = f"the option {name!r}" if plain else "an option"
            raise _refused(url, f"{shown} is unknown; a URL may have {', '.join(allowed)}")
    if "ssl_cert_reqs" in options:
        # Celery's form is ssl_cert_reqs=CERT_NONE.
        options["ssl_cert_reqs"] = options["ssl_cert_reqs"].lower().removeprefix("cert_")
        if options["ssl_cert_reqs"] not in ("none", "optional", "required"):
            raise _refused(url, "ssl_cert_reqs is one of none, optional, required")
    return options


def _local_path(url: str, scheme: str, where: str, path: str) -> str:
    if where or path == "/" or (scheme == "unix" and not path):
        also = "embedded:// or " if scheme == "embedded" else ""
        raise _refused(url, f"write {also}{scheme}:///absolute/path")
    return unquote(path)


def _host_and_port(url: str, scheme: str, item: str) -> tuple[str, int]:
    default = 26379 if scheme == _SENTINEL else 6379
    found = _HOST.fullmatch(item)
    if found is None:
        raise _refused(
            url,
            f"the host or the port is missing or malformed; write {scheme}://HOST:PORT/…, with '@', ':', '/' "
            "and '?' in user and password percent-encoded",
        )
    port = int(found[2] or default)
    if not 0 < port < 65_536:
        raise _refused(url, "the port is a number from 1 to 65535")
    return found[1], port


def _service_and_db(url: str, scheme: str, path: str) -> tuple[str, str]:
    if scheme != _SENTINEL:
        return "", path[1:]
    service, _, db = path[1:].partition("/")
    if not service:
        raise _refused(url, f"name the master: {_SENTINEL}://HOST:PORT,HOST:PORT/SERVICE/DB")
    return unquote(service), db


def _database(url: str, *named: str) -> int:
    given = [name for name in named if name]
    if len(given) > 1:
        raise _refused(url, "the database is named twice; leave out ?db=")
    if given and not _NUMBER.fullmatch(given[0]):
        raise _refused(url, "the database is a number, 0 if left out")
    return int(given[0]) if given else 0


def _refused(url: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{_veiled(url)} is refused: {why}")


def _veiled(url: str) -> str:
    """Mask a URL that could not be read: what may be a part of a password is hidden too."""
    scheme, _, rest = url.partition("://")
    scheme = scheme if re.fullmatch(r"[A-Za-z+]{1,20}", scheme) else "***"
    shown, question, query = rest.partition("?")
    if "@" in query or "#" in rest:
        return f"{scheme}://***"
    _, at, shown = shown.rpartition("@")
    hosts, slash, path = shown.partition("/")
    if not all(not item or _HOST.fullmatch(item) for item in hosts.split(",")):
        hosts, path = "***", "***" if path else ""
    return f"{scheme}://{'***@' if at else ''}{hosts}{slash}{path}{'?***' if question else ''}"


def resolve(url: str, namespace: str) -> ServerURL:
    """Read a URL; `embedded://` becomes that of the namespace's embedded server, started if need be.

    Raises:
        ConfigurationError: the URL names no server that can be used, or no embedded one can be had here.
        BrokerUnavailable: the embedded server does not start.
    """
    parsed = parse_url(url)
    if parsed.scheme != "embedded":
        return parsed
    from taskq.broker.embedded import ensure

    server = ensure(namespace, directory=Path(parsed.path) if parsed.path else None)
    if server.started:
        log.info(
            "started an embedded server, %s %s, in %s; it ends a minute after its last client",
            server.kind,
            server.version,
            server.directory,
        )
    return parse_url(server.url)


def async_client(url: ServerURL, *, timeout: float = 5.0) -> redis.asyncio.Redis:
    """Make a client for the running loop; it connects at first use. `timeout`: seconds for a reply."""
    import redis.asyncio

    driver = _async_driver()
    pool = driver.connection.BlockingConnectionPool(
        max_connections=MOST, timeout=POOL_WAIT, **_arguments(url, timeout, driver)
    )
    return redis.asyncio.Redis.from_pool(pool)


def raw_connection(url: ServerURL, *, timeout: float | None) -> redis.connection.Connection:
    """Connect one connection without a pool. `timeout`: seconds for a reply, more than it may block for.

    Raises:
        redis.RedisError: the server is not reached, or refuses the login.
    """
    arguments = _arguments(url, _CONNECT_TIMEOUT, _sync_driver())
    untyped = arguments.pop("connection_class")(**arguments)
    untyped.connect()
    # Only now, so that the login ends in finite time also where a reply may take for ever.
    untyped.socket_timeout = timeout
    untyped.update_current_socket_timeout(timeout)
    connection: redis.connection.Connection = untyped
    return connection


class _Driver(NamedTuple):
    """What is twice in redis-py, by the same names; typed poorly there, hence Any."""

    connection: Any
    sentinel: Any
    master: type[_Master]
    retry: Any


def _sync_driver() -> _Driver:
    import redis.backoff
    import redis.connection
    import redis.retry
    import redis.sentinel

    never = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    return _Driver(redis.connection, redis.sentinel, _Master, never)


def _async_driver() -> _Driver:
    import redis.asyncio.connection
    import redis.asyncio.retry
    import redis.asyncio.sentinel
    import redis.backoff

    never = redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 0)
    return _Driver(redis.asyncio.connection, redis.asyncio.sentinel, _AsyncMaster, never)


def _arguments(url: ServerURL, timeout: float, driver: _Driver) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "db": url.db,
        "username": url.username,
        "password": url.password,
        "socket_timeout": timeout,
        "socket_connect_timeout": _CONNECT_TIMEOUT,
        "retry": driver.retry,
        "retry_on_timeout": False,
        "health_check_interval": 0,
        "decode_responses": False,
        "protocol": 2,
        "client_name": "taskq",
        "driver_info": None,
    }
    if url.scheme == "unix":
        unix = driver.connection.UnixDomainSocketConnection
        return {**arguments, "path": url.path, "connection_class": unix}
    if url.scheme == "embedded":
        raise ConfigurationError(f"{url.masked} is no address yet; resolve() gives the running server's")
    if url.scheme == "memory":
        from taskq.broker.memory import connection_of

        return {**arguments, **connection_of(url.path, is_async=driver.master is _AsyncMaster)}
    hosts = [(host.strip("[]"), port) for host, port in url.hosts]
    arguments["socket_keepalive"] = True
    if url.scheme == _SENTINEL:
        arguments["connection_class"] = driver.sentinel.SentinelManagedConnection
        arguments["connection_pool"] = driver.master(url, hosts, driver)
        return arguments
    arguments["host"], arguments["port"] = hosts[0]
    if url.scheme in _TLS:
        return {**arguments, **_tls_arguments(url), "connection_class": driver.connection.SSLConnection}
    return {**arguments, "connection_class": driver.connection.Connection}


def _tls_arguments(url: ServerURL) -> dict[str, Any]:
    arguments: dict[str, Any] = dict(url.options)
    for name in _FILES:
        if name in arguments and not os.access(arguments[name], os.R_OK):
            raise ConfigurationError(f"{url.masked}: {name} names no file that can be read")
    if "ssl_check_hostname" in arguments:
        given = arguments["ssl_check_hostname"].lower()
        arguments["ssl_check_hostname"] = given not in ("0", "f", "false", "n", "no")
    return arguments


class _Master:
    """What a sentinel-managed connection asks, at each connect, for the master's address.

    The sentinels' clients live for one question: nothing is left to fork, to close or to share.
    """

    is_master = True
    check_connection = False

    def __init__(self, url: ServerURL, hosts: list[tuple[str, int]], driver: _Driver) -> None:
        self._service = url.service
        options = dict(url.options)
        login = {name.removeprefix("sentinel_"): options.get(name) for name in _SENTINEL_OPTIONS}
        timeouts = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
        kwargs = {**login, **timeouts, "retry": driver.retry, "protocol": 2, "driver_info": None}
        self._ask: Callable[[], Any] = lambda: driver.sentinel.Sentinel(hosts, sentinel_kwargs=kwargs)

    def get_master_address(self) -> Any:
        with self._ask() as sentinels:
            return sentinels.discover_master(self._service)


class _AsyncMaster(_Master):
    async def get_master_address(self) -> Any:
        async with self._ask() as sentinels:
            return await sentinels.discover_master(self._service)
