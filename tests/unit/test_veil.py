"""Texts without the values that are not to be shown."""

from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

from taskq.veil import NO_VEIL, Veil


def test_a_value_is_found_in_each_of_its_forms() -> None:
    text, data = "pa'ss\n\"w ö", b"\x00bytes"
    veil = Veil([text, data, 4815, 2.75])
    for form in (text, repr([text]), json.dumps({"x": text}), repr(data), "n=4815", "2.75"):
        assert veil.over(form) != form
        assert "ss" not in veil.over(form)
        assert "bytes" not in veil.over(form)
    assert veil.over(json.dumps([text])) == '["<secret>"]'


def test_short_values_are_left_for_they_stand_anywhere() -> None:
    assert Veil(["abc", 12, True, None]).over("abc 12 True None") == "abc 12 True None"


def test_the_longer_of_two_goes_first_and_a_mask_is_not_masked() -> None:
    assert Veil(["pass", "password", "secret"]).over("a password, a pass, a secret") == (
        "a <secret>, a <secret>, a <secret>"
    )


def test_the_long_lines_of_a_value_are_found_one_by_one() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----"
    indented = key.replace("\n", "\n  | ")
    assert Veil([key]).over(indented) == "<secret>\n  | <secret>\n  | <secret>"


def test_whatever_a_value_is_the_veil_is_made() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    assert Veil([Broken(), 10**5_000]).over("text") == "text"


def test_what_pydantic_quotes_is_left_out_and_the_rest_of_its_text_is_there() -> None:
    text = (
        "2 errors\na\n  Bad [type=x, input_value='ab, c]...d', input_type=str]\n"
        "  See x\nb\n  Bad [type=y, input_value=1, input_type=int]"
    )
    assert Veil(["hunter2"]).over(text) == "2 errors\na\n  Bad [type=x]\n  See x\nb\n  Bad [type=y]"
    assert NO_VEIL.over(text) == text


def test_a_short_value_is_found_as_a_word_of_its_own() -> None:
    veil = Veil(["abcd", "-ab-"])
    assert veil.over("abcdef xabcd abcd, u:abcd@h a_abcd") == "abcdef xabcd <secret>, u:<secret>@h a_<secret>"
    assert veil.over(repr("x\nabcd") + " %40abcd x-ab-x") == r"'x\n<secret>' %40<secret> x<secret>x"


def test_a_value_is_found_as_it_stands_in_json_in_bytes_and_in_urls() -> None:
    text = 'pä"ss wörd/\n'
    veil = Veil([text])
    forms = [json.dumps(text, ensure_ascii=False), repr(text.encode()), quote(text), quote(text, safe=""),
             quote_plus(text)]  # fmt: skip
    for form in forms:
        assert "rd" not in veil.over(form)
    assert Veil(["\udcff" * 5]).over("x") == "x"
