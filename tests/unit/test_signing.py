"""Keys, and the frames that they sign: whatever is changed is seen, and no secret is ever shown."""

from __future__ import annotations

import os
import resource
import zlib
from pathlib import Path
from typing import Any

import pytest

from taskq import State, TaskQ
from taskq.config import AppConfig, from_environment
from taskq.errors import BadMessage, BadSignature, ConfigurationError, PayloadTooLarge
from taskq.frame import (
    COMPRESSED,
    FRAME_VERSION,
    LARGEST,
    SIGNED,
    FrameCodec,
    UnknownFrame,
    UnknownKey,
    split,
)
from taskq.message import (
    Message,
    decode_message,
    encode_message,
    message_signature,
    open_message,
    seal_message,
)
from taskq.record import Outcome, RemoteError, parse_record, seal_outcome
from taskq.signing import KeyRing, key_ring, keys_from, new_key

OLD, NEW = "o" * 40, "n" * 40
RING = KeyRing({"new": NEW, "old": OLD})
SIGNING = FrameCodec("shop", keys=RING)
MESSAGE = Message("mail.send", "mail", 5, b"\x01\x91\x01", b"", 1_764_000_000_000)


def record(letter: str, g: int, outcome: bytes) -> Any:
    return parse_record(f"{letter}|{g}|p|".encode() + outcome)


# -- keys


def test_the_first_key_signs_and_all_verify() -> None:
    before = FrameCodec("shop", keys=KeyRing({"old": OLD}))
    old, new = seal_message(MESSAGE, "id", before), seal_message(MESSAGE, "id", SIGNING)

    assert split(old).key_id == "old"
    assert split(new).key_id == "new"
    assert open_message(old, "id", "mail", SIGNING) == (MESSAGE, True)
    assert open_message(new, "id", "mail", SIGNING) == (MESSAGE, True)
    with pytest.raises(UnknownKey, match="signed with key 'new', and the keys here are old"):
        open_message(new, "id", "mail", before)


def test_keys_are_read_from_text_with_commas_or_lines() -> None:
    text = f"# the ring\nnew:{NEW},\n\n old:{OLD}\n"

    assert (
        key_ring(f"new:{NEW},old:{OLD}")
        == RING
        == key_ring(text)
        == key_ring({"new": NEW, "old": OLD.encode()})
    )
    assert key_ring({"old": OLD, "new": NEW}) != RING
    assert key_ring(None) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"k": "short secret"}, r"'k' has 12 bytes; 32 random ones are the least: `taskq keys new` prints"),
        ({}, "has no key"),
        ("", "has no key"),
        ("k:" + NEW + ",k:" + OLD, "the key id 'k' stands there twice"),
        (NEW, "entry 1 has no ':', write id:secret"),
        ({"a b": NEW}, "a key id is 1 to 32 letters"),
        ({NEW * 2: "x"}, "a key id is 1 to 32 letters"),
        ({"k": 5}, "neither text nor bytes"),
    ],
)
def test_keys_that_cannot_be_meant_are_refused_without_being_shown(given: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        TaskQ("shop", signing_keys=given)

    assert not any(secret in str(raised.value) for secret in (NEW, OLD, "short secret"))


def test_a_secret_stands_in_no_repr(tmp_path: Path) -> None:
    app = TaskQ("shop", redis_url="redis://nowhere.invalid", signing_keys={"new": NEW})

    assert repr(app.config.signing_keys) == "KeyRing(new)"
    for shown in (app, app.config, app.frames, app.config.signing_keys):
        assert NEW not in repr(shown)
        assert NEW not in str(shown)


def test_the_environment_counts_more_than_the_code_and_may_name_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"new:{NEW}\nold:{OLD}\n")

    assert from_environment(AppConfig(), {"TASKQ_SIGNING_KEYS": f"k:{OLD}"}).signing_keys == KeyRing(
        {"k": OLD}
    )
    assert from_environment(AppConfig(), {"TASKQ_SIGNING_KEYS_FILE": str(file)}).signing_keys == RING
    assert from_environment(AppConfig(signing_keys=RING), {}).signing_keys == RING
    assert from_environment(AppConfig(), {"TASKQ_ACCEPT_UNSIGNED": "1"}).accept_unsigned
    with pytest.raises(ConfigurationError, match="both set"):
        keys_from({"TASKQ_SIGNING_KEYS": f"k:{OLD}", "TASKQ_SIGNING_KEYS_FILE": str(file)})
    with pytest.raises(ConfigurationError, match="cannot be read: FileNotFoundError"):
        keys_from({"TASKQ_SIGNING_KEYS_FILE": str(file) + ".gone"})
    with pytest.raises(ConfigurationError, match="TASKQ_ACCEPT_UNSIGNED='maybe' cannot be read"):
        from_environment(AppConfig(), {"TASKQ_ACCEPT_UNSIGNED": "maybe"})


def test_a_fresh_key_is_one_that_is_accepted_and_no_other_is_like_it() -> None:
    one, other = new_key("k1"), new_key("k1")

    assert one != other
    assert KeyRing.parse(one, "x").ids == ("k1",)


# -- frames


def test_without_keys_a_message_is_framed_as_before_signing() -> None:
    assert seal_message(MESSAGE, "id", FrameCodec()) == encode_message(MESSAGE)
    assert open_message(encode_message(MESSAGE), "id", "mail", FrameCodec()) == (MESSAGE, False)


@pytest.mark.parametrize("compress_over", [None, 0])
def test_no_byte_of_a_signed_message_can_be_changed(compress_over: int | None) -> None:
    data = seal_message(Message("mail.send", "mail", args=bytes(200)), "id", SIGNING, compress_over)
    open_message(data, "id", "mail", SIGNING)

    for place in range(len(data)):
        for bit in (1, 0x80):
            altered = bytes([*data[:place], data[place] ^ bit, *data[place + 1 :]])
            with pytest.raises(BadMessage):
                open_message(altered, "id", "mail", SIGNING)
    for length in range(len(data)):
        with pytest.raises(BadMessage):
            open_message(data[:length], "id", "mail", SIGNING)


@pytest.mark.parametrize(
    ("id", "namespace", "shards"),
    [("di", "shop", 1), ("id", "other", 1), ("id", "shop", 7), ("id\0", "shop", 1)],
)
def test_a_message_that_was_moved_is_refused(id: str, namespace: str, shards: int) -> None:
    data = seal_message(MESSAGE, "id", SIGNING)

    with pytest.raises(BadSignature, match="altered, or moved here from another id, shard or namespace"):
        open_message(data, id, "mail", FrameCodec(namespace, shards, RING))


def test_a_message_in_another_queue_than_it_was_signed_for_is_refused() -> None:
    data = seal_message(MESSAGE, "id", SIGNING)

    with pytest.raises(BadSignature, match="signed for queue 'mail' and was found in 'gold'"):
        open_message(data, "id", "gold", SIGNING)
    assert message_signature(data, "id", "gold", SIGNING) == "invalid"


def test_what_is_not_signed_is_read_only_where_that_was_asked_for() -> None:
    data = encode_message(MESSAGE)

    with pytest.raises(BadSignature, match="the message is not signed"):
        open_message(data, "id", "mail", SIGNING)
    lenient = FrameCodec("shop", keys=RING, accept_unsigned=True)
    assert open_message(data, "id", "mail", lenient) == (MESSAGE, False)
    forged = bytes((FRAME_VERSION, SIGNED, 3)) + b"new" + bytes(32) + data[2:]
    with pytest.raises(BadSignature, match="altered"):
        open_message(forged, "id", "mail", lenient)


def test_without_keys_a_signed_message_is_not_taken_for_good() -> None:
    data = seal_message(MESSAGE, "id", SIGNING)

    with pytest.raises(UnknownKey, match="there are no signing keys here"):
        open_message(data, "id", "mail", FrameCodec("shop"))
    assert decode_message(data) == MESSAGE
    said = {
        name: message_signature(data, "id", "mail", frames)
        for name, frames in {
            "none": FrameCodec("shop"),
            "ring": SIGNING,
            "other ring": FrameCodec("shop", keys=KeyRing({"k": OLD})),
            "wrong secret": FrameCodec("shop", keys=KeyRing({"new": OLD})),
        }.items()
    }
    assert said == {
        "none": "not checked",
        "ring": "valid",
        "other ring": "unknown key",
        "wrong secret": "invalid",
    }
    assert message_signature(encode_message(MESSAGE), "id", "mail", SIGNING) == "missing"
    assert message_signature(encode_message(MESSAGE), "id", "mail", FrameCodec()) is None


def test_a_later_frame_is_told_from_a_broken_one() -> None:
    data = seal_message(MESSAGE, "id", SIGNING)

    for head, name in {(2, 1): "2", (1, 64): "1:64", (1, 0b1100_0001): "1:64"}.items():
        with pytest.raises(UnknownFrame) as caught:
            open_message(bytes(head) + data[2:], "id", "mail", SIGNING)
        assert caught.value.parked_under == f"taskq.frame:{name}"
    for broken in (
        b"",
        b"\x01",
        b"\x01\x01",
        b"\x01\x01\xff",
        b"\x01\x01\x01k",
        b"\x01\x01\x03a b" + bytes(40),
    ):
        with pytest.raises(BadMessage):
            open_message(broken, "id", "mail", SIGNING)


# -- outcomes


def test_an_outcome_fits_its_task_its_claim_and_its_state_alone() -> None:
    data = seal_outcome(Outcome(result=b"\x01\x07"), "id", 7, "S", SIGNING)

    assert record("S", 7, data).open("id", SIGNING) == (Outcome(result=b"\x01\x07"), True)
    for id, g, letter in (("other", 7, "S"), ("id", 8, "S"), ("id", 7, "F")):
        with pytest.raises(BadSignature):
            record(letter, g, data).open(id, SIGNING)
    message = seal_message(MESSAGE, "id", SIGNING)
    with pytest.raises(BadSignature):
        record("S", 7, message).open("id", SIGNING)


def test_an_outcome_without_a_signature_is_refused_where_there_are_keys() -> None:
    plain = seal_outcome(Outcome(error=RemoteError("E", "no")), "id", 7, "F", FrameCodec())

    assert plain[0] & 0xF0 == 0x80
    for letter in "SF":
        for data in (plain, b""):
            with pytest.raises(BadSignature, match="the outcome is not signed"):
                record(letter, 7, data).open("id", SIGNING)
    # Scripts of the server end a task so, and they have no key.
    assert record("C", 7, b"").open("id", SIGNING) == (Outcome(), False)
    assert record("E", 7, b"").open("id", SIGNING) == (Outcome(), False)
    assert record("F", 7, plain).open("id", FrameCodec("shop", keys=RING, accept_unsigned=True))[1] is False


def test_without_keys_a_signed_outcome_is_read_and_not_trusted() -> None:
    data = seal_outcome(Outcome(result=b"\x01\x07"), "id", 7, "S", SIGNING)
    ended = record("S", 7, data)

    assert ended.state is State.SUCCEEDED
    assert ended.outcome == Outcome(result=b"\x01\x07")
    assert ended.open("id", FrameCodec()) == (Outcome(result=b"\x01\x07"), False)
    assert ended.signature("id", FrameCodec()) == "not checked"
    assert ended.signature("id", SIGNING) == "valid"


@pytest.mark.parametrize("junk", [b"\xc1", b"\xff\xff", b"junk", b"\x91" * 50_000])
def test_an_outcome_that_is_none_is_found_when_it_is_read(junk: bytes) -> None:
    ended = record("S", 7, junk)

    with pytest.raises(BadMessage):
        ended.open("id", FrameCodec())
    with pytest.raises(BadMessage):
        _ = ended.outcome


def test_no_byte_of_a_signed_outcome_can_be_changed() -> None:
    data = seal_outcome(Outcome(result=b"\x01" + bytes(40)), "id", 7, "S", SIGNING)

    for place in range(len(data)):
        altered = bytes([*data[:place], data[place] ^ 1, *data[place + 1 :]])
        with pytest.raises(BadMessage):
            record("S", 7, altered).open("id", SIGNING)


# -- sizes


def test_what_is_compressed_is_smaller_and_arrives_the_same() -> None:
    large = Message("t", "mail", args=b"a" * 10_000)
    data = seal_message(large, "id", SIGNING, 4_096)

    assert len(data) < 300
    assert split(data).flags == SIGNED | COMPRESSED
    assert open_message(data, "id", "mail", SIGNING) == (large, True)
    assert decode_message(data) == large
    plain = FrameCodec(compress_over=4_096)
    assert split(seal_message(large, "id", plain)).flags == COMPRESSED
    assert open_message(seal_message(large, "id", plain), "id", "mail", plain) == (large, False)


def test_what_would_not_get_smaller_stays_as_it_is() -> None:
    noise = Message("t", args=os.urandom(500))

    assert split(seal_message(noise, "id", FrameCodec(compress_over=0))).flags == 0


def test_a_small_message_that_grows_is_refused_before_it_has_grown() -> None:
    bomb = zlib.compress(bytes(100 << 20), 9)
    assert len(bomb) < 110_000
    honest = bytes((FRAME_VERSION, COMPRESSED)) + (100 << 20).to_bytes(4, "big") + bomb
    lying = bytes((FRAME_VERSION, COMPRESSED)) + (1 << 20).to_bytes(4, "big") + bomb
    bare = bytes((FRAME_VERSION, COMPRESSED)) + bomb
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for data in (honest, lying, bare):
        with pytest.raises(BadMessage, match=r"max_payload allows|does not decompress to"):
            open_message(data, "id", "mail", FrameCodec())
        with pytest.raises(BadMessage):
            decode_message(data)
    with pytest.raises(BadMessage):
        record("S", 7, honest).open("id", FrameCodec())

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


def test_a_message_above_the_limit_is_refused_at_both_ends() -> None:
    large = Message("t", "mail", args=bytes(3_000))
    narrow = FrameCodec(max_payload=2_048)

    with pytest.raises(
        PayloadTooLarge, match=r"3,0\d\d bytes, and max_payload allows 2,048; store the data elsewhere"
    ):
        seal_message(large, "id", narrow)
    for wide in (FrameCodec(), FrameCodec(compress_over=0)):
        with pytest.raises(BadMessage, match="max_payload allows 2,048"):
            open_message(seal_message(large, "id", wide), "id", "mail", narrow)
    result = seal_outcome(Outcome(result=bytes(3_000)), "id", 7, "S", FrameCodec())
    with pytest.raises(BadMessage, match="max_payload allows 2,048"):
        record("S", 7, result).open("id", narrow)
    assert FrameCodec().max_payload == LARGEST
