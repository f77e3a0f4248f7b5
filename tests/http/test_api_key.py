"""A key goes into one header, and is found in whatever a server makes of it."""

from __future__ import annotations

import base64
import html
import json
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.errors import UsageError
from qwq_env.http.api_key import ApiKey

# Without the asterisk: what hides a key must not be able to spell one.
CHARACTERS = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="*")
PRINTABLE = st.text(CHARACTERS, min_size=8, max_size=40)


@pytest.mark.parametrize(
    "value", ["sk-secret\n", " sk-secret", "sk-sécret", "", " ", "sk\x00secret"]
)
def test_what_is_no_key_is_refused_and_not_shown(value):
    with pytest.raises(UsageError, match=r"^SOME_KEY: not printable ASCII") as caught:
        ApiKey(value, "SOME_KEY")

    assert "secret" not in str(caught.value)


def test_no_key_is_no_header_and_hides_nothing():
    assert ApiKey(None).headers() == {}
    assert ApiKey(None).hidden("Bearer None") == "Bearer None"


def test_key_is_not_shown_by_itself():
    assert (
        "sk-secret" not in repr(ApiKey("sk-secret")) + str(vars(ApiKey)) + f"{ApiKey('sk-secret')}"
    )
    assert ApiKey("sk-secret").headers() == {"Authorization": "Bearer sk-secret"}


@given(PRINTABLE, st.text(max_size=20), st.text(max_size=20))
def test_every_way_to_write_a_key_is_hidden(key, before, after):
    hide = ApiKey(key).hidden
    written = {
        "plain": key,
        "repr": repr(before + key + after),
        "JSON": json.dumps(before + key + after),
        "JSON in JSON": json.dumps(json.dumps(key)),
        "escaped": "".join(f"\\u{ord(c):04X}" for c in key),
        "URL": urllib.parse.quote(key, safe=""),
        "HTML": html.escape(key),
        "upper case": key.upper(),
        "wrapped": key[:5] + "\n  " + key[5:],
        "URL twice": urllib.parse.quote(urllib.parse.quote(f"%{key}", safe=""), safe=""),
        "percents twice": "".join(f"%25{ord(c):02X}" for c in key),
        "octal": "".join(f"\\{ord(c):03o}" for c in key),
        "braces": "".join(f"\\u{{{ord(c):x}}}" for c in key),
        "hex": key.encode().hex(),
        "spaced hex": key.encode().hex(" "),
        "hex with colons": key.encode().hex(":").upper(),
        "C": ", ".join(f"0x{ord(c):02x}" for c in key),
        "codes": str(list(key.encode())),
        "octal codes": " ".join(f"{ord(c):o}" for c in key),
        "characters": str(list(key)),
        "HTML codes": "".join(f"&amp;#{ord(c)};" for c in key),
        "base64": base64.b64encode(key.encode()).decode(),
        "basic": base64.b64encode(f"Bearer {key}".encode()).decode(),
    }
    for how, text in written.items():
        shown = hide(f"{before}{text}{after}")

        assert key not in shown, how
        assert "***" in shown, how


@given(st.text(max_size=200))
def test_other_text_stays_as_it_is(text):
    assert ApiKey("sk-0123456789abcdef").hidden(text) == text


@pytest.mark.parametrize(
    "text",
    ["\\" * 200_000, "s" + " " * 200_000, "sk-secre" * 25_000, "115, 107, " * 9_000, "%25" * 60_000,
     "&amp;" * 40_000, "0x73 " * 40_000],
)  # fmt: skip
def test_hostile_text_takes_no_longer_than_other_text(text):
    # With repetitions of any length the first of these took twenty minutes.
    assert ApiKey("sk-secret-0123456789").hidden(text) == text
