"""A folder as the store of large payloads."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from taskq import TaskQ
from taskq.errors import ConfigurationError, PayloadMissing, PayloadUnavailable
from taskq.stores import check_name, open_store
from taskq.stores.files import FileStore

BIG = os.urandom(5_000)
NAME = "0-abc~m0123"


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(str(tmp_path / "payloads"), "taskq")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "payloads" / "taskq.payloads"


def test_what_is_put_is_there_and_what_is_removed_is_not(store: FileStore, folder: Path) -> None:
    store.put(NAME, BIG)
    assert store.get(NAME, len(BIG)) == BIG
    assert [path.name for path in folder.iterdir()] == [NAME]

    store.remove([NAME, "0-never~m0"])
    with pytest.raises(PayloadMissing):
        store.get(NAME, 1)
    assert [*folder.iterdir()] == []


def test_only_this_user_can_read(store: FileStore, folder: Path) -> None:
    before = os.umask(0)
    try:
        store.put(NAME, b"x")
    finally:
        os.umask(before)

    assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_an_object_is_there_whole_or_not_at_all(
    store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def fills_up(fd: int, data: Any) -> int:
        if len(data) <= 2_500:
            raise OSError(28, "No space left on device")
        return write(fd, data[:2_500])

    monkeypatch.setattr(os, "write", fills_up)
    with pytest.raises(PayloadUnavailable, match="No space left"):
        store.put(NAME, BIG)
    assert [*folder.iterdir()] == []  # the unfinished one is gone, too


def test_the_disk_confirms_content_and_name_before_put_returns(
    store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("0-first~m0", b"")
    confirmed: list[str] = []
    fsync = os.fsync

    def note(fd: int) -> None:
        confirmed.append(Path(f"/proc/self/fd/{fd}").readlink().name[:1])
        fsync(fd)

    monkeypatch.setattr(os, "fsync", note)
    store.put(NAME, BIG)
    assert confirmed == ["+", folder.name[:1]]
    FileStore(str(folder.parent), "taskq", durable=False).put("0-b~m0", BIG)
    assert len(confirmed) == 2


@pytest.mark.parametrize(
    "name",
    ["", "..", "../up~m0", "a/b~m0", "/etc/passwd", "~m0", "a~", "a~m/..", "+x~m0", "a~m0\n", "a\0~m0"],
)
def test_no_name_leads_out_of_the_folder(store: FileStore, name: str) -> None:
    store.put(NAME, b"x")
    assert not check_name(name)
    for call in (lambda: store.put(name, b""), lambda: store.get(name, 9), lambda: store.remove([name])):
        with pytest.raises(PayloadMissing, match="names no object"):
            call()


def test_a_link_is_not_followed(store: FileStore, folder: Path, tmp_path: Path) -> None:
    store.put("0-first~m0", b"")
    (tmp_path / "secret").write_text("secret")
    (folder / NAME).symlink_to(tmp_path / "secret")
    with pytest.raises(PayloadUnavailable):
        store.get(NAME, 100)


def test_no_more_is_read_than_was_asked_for(store: FileStore) -> None:
    store.put(NAME, BIG)
    assert store.get(NAME, 10) == BIG[:11]


def test_a_folder_that_is_not_mounted_says_nothing_of_its_objects(store: FileStore, folder: Path) -> None:
    with pytest.raises(PayloadUnavailable):
        store.get(NAME, 1)
    folder.mkdir(parents=True)
    with pytest.raises(PayloadMissing):
        store.get(NAME, 1)


def test_namespaces_share_a_folder_and_see_nothing_of_each_other(tmp_path: Path) -> None:
    one, other = FileStore(str(tmp_path), "one"), FileStore(str(tmp_path), "..")
    one.put(NAME, b"1")
    other.put(NAME, b"2")
    assert (one.get(NAME, 9), other.get(NAME, 9)) == (b"1", b"2")
    assert {path.name for path in tmp_path.iterdir()} == {"one.payloads", "...payloads"}


def test_the_old_are_told_apart_and_what_was_never_finished_is_cleared(
    store: FileStore, folder: Path
) -> None:
    for name in (NAME, "0-young~m0"):
        store.put(name, BIG)
    for name in ("+torn", "+young", "stranger.txt"):
        (folder / name).touch()
    for name in (NAME, "+torn", "stranger.txt"):
        age(folder / name, 7_200)

    assert [*store.old(3_600)] == [(NAME, len(BIG))]
    assert {path.name for path in folder.iterdir()} == {NAME, "0-young~m0", "+young", "stranger.txt"}


def test_one_sweeps_an_hour(store: FileStore, folder: Path) -> None:
    assert not store.take_turn(3_600)  # nobody has stored anything
    store.put(NAME, b"")
    assert [store.take_turn(3_600) for _ in range(3)] == [True, False, False]
    age(folder / "+swept", 3_700)
    assert store.take_turn(3_600)


@pytest.mark.parametrize(
    "url",
    ["", "payloads", "file:payloads", "file://host/x", "ftp://x/y", "file:///x?durable=2", "file:///x?a=1"],
)
def test_what_names_no_store_is_refused_where_it_is_configured(url: str) -> None:
    with pytest.raises(ConfigurationError, match="offload_to"):
        TaskQ("shop", offload_to=url)


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    open_store(f"{(tmp_path / 'a b').as_uri()}?durable=0", "n").put(NAME, b"x")
    assert (tmp_path / "a b" / "n.payloads" / NAME).exists()
