"""An S3-compatible service as the store of payloads: moto's server stands for it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boto3.session import Session
from moto.server import ThreadedMotoServer

from taskq import TaskFailed, TaskQ
from taskq.errors import ConfigurationError, PayloadMissing, PayloadUnavailable
from taskq.stores import PayloadStore, open_store
from tests.support import wait_until
from tests.workers import Yard

BIG = os.urandom(300_000)
NAME = "0-abc~m0123"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    session: Any = Session(region_name="us-east-1")
    bucket = session.resource("s3", endpoint_url=endpoint).Bucket(f"b-{uuid.uuid4().hex}")
    bucket.create()
    yield bucket
    bucket.meta.client.close()


@pytest.fixture
def url(bucket: Any, endpoint: str) -> str:
    return f"s3://{bucket.name}/of/shop?endpoint={endpoint}&region=us-east-1"


@pytest.fixture
def store(url: str) -> Iterator[PayloadStore]:
    store: Any = open_store(url, "taskq")
    yield store
    store.close()


def keys(bucket: Any) -> list[str]:
    return [found.key for found in bucket.objects.all()]


def test_what_is_put_is_there_and_what_is_removed_is_not(store: PayloadStore, bucket: Any) -> None:
    store.put(NAME, BIG)
    assert store.get(NAME, len(BIG)) == BIG
    assert store.get(NAME, 10) == BIG[:11]
    assert keys(bucket) == [f"of/shop/taskq.payloads/{NAME}"]

    store.remove([NAME, "0-never~m0"])
    assert keys(bucket) == []
    with pytest.raises(PayloadMissing, match=NAME):
        store.get(NAME, 1)


@pytest.mark.parametrize("name", ["", "..", "../up~m0", "a/b~m0", "~m0", "+x~m0", "a~m0\n"])
def test_no_name_leads_out_of_the_prefix(store: PayloadStore, name: str) -> None:
    for call in (lambda: store.put(name, b""), lambda: store.get(name, 9), lambda: store.remove([name])):
        with pytest.raises(PayloadMissing, match="names no object"):
            call()


def test_more_than_one_request_takes_are_removed_and_listed(store: PayloadStore, bucket: Any) -> None:
    names = [f"0-{number}~m0" for number in range(1_003)]
    for name in names:
        bucket.put_object(Key=f"of/shop/taskq.payloads/{name}", Body=b"x")
    bucket.put_object(Key="of/shop/other.payloads/0-a~m0", Body=b"x")
    bucket.put_object(Key="of/shop/taskq.payloads/strange/file", Body=b"x")

    assert sorted(store.old(-60)) == sorted((name, 1) for name in names)
    assert [*store.old(60)] == []
    store.remove(names)
    assert keys(bucket) == ["of/shop/other.payloads/0-a~m0", "of/shop/taskq.payloads/strange/file"]


def test_one_sweeps_an_hour(store: PayloadStore) -> None:
    assert [store.take_turn(3_600) for _ in range(3)] == [True, False, False]
    assert store.take_turn(-60)
    assert [*store.old(-60)] == []


@pytest.mark.parametrize("where", ["away", "another"])
def test_a_service_that_is_away_or_refuses_says_nothing_of_its_objects(
    bucket: Any, endpoint: str, where: str
) -> None:
    endpoint = "http://127.0.0.1:1" if where == "away" else endpoint
    store: Any = open_store(f"s3://no-such-bucket?endpoint={endpoint}&region=us-east-1", "taskq")
    for call in (
        lambda: store.put(NAME, b"x"),
        lambda: store.get(NAME, 9),
        lambda: store.remove([NAME]),
        lambda: [*store.old(0)],
        lambda: store.take_turn(1),
    ):
        with pytest.raises(PayloadUnavailable):
            call()
    store.close()


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3:///x", "s3://B", "s3://key:secret@bucket/x", "s3://bucket?durable=1", "s3://bucket#x"],
)
def test_what_names_no_bucket_is_refused_where_it_is_configured(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        TaskQ("shop", offload_to=url)
    assert "secret" not in str(caught.value)


def test_large_payloads_go_through_a_bucket(
    tmp_path: Path, bucket: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKQ_OFFLOAD_TO", url)
    monkeypatch.setenv("TASKQ_OFFLOAD_OVER", "1KB")
    with Yard(tmp_path) as yard:
        worker = yard.worker("large")
        handles = [yard.send("large.double", BIG), yard.send("large.adouble", BIG)]
        for handle in handles:
            assert handle.result(timeout=20) == BIG * 2
        wait_until(lambda: len(keys(bucket)) == 2)
        assert all("~o" in key for key in keys(bucket))

        altered = yard.send("large.double", BIG, delay=1)
        [key] = [key for key in keys(bucket) if "~m" in key]
        bucket.put_object(Key=key, Body=BIG)
        with pytest.raises(TaskFailed, match="PayloadMismatch"):
            altered.result(timeout=20)
        assert worker.stop() == 0
        store: Any = yard.app.payloads.reach()
        store.close()
