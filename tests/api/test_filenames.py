"""File names in every spelling that clients have for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.upload.filenames import filename_of
from api.upload.multipart import MultipartReader, PartStart
from tests.api.serving import Service, wav

NAMES = [
    # what a client sends, what its user called the file
    (rb'filename="talk.wav"', "talk.wav"),
    (rb"filename=talk.wav", "talk.wav"),
    ('filename="Vortrag ä 今天.wav"'.encode(), "Vortrag ä 今天.wav"),
    (b'filename="na\xefve.wav"', "naïve.wav"),  # a client that knows no UTF-8
    # RFC 5987, with and without the plain name, in either order
    (rb"filename*=UTF-8''na%C3%AFve.wav", "naïve.wav"),
    (rb"filename=plain.wav; filename*=UTF-8''na%C3%AFve.wav", "naïve.wav"),
    (rb"""filename*=utf-8'de'na%C3%AFve.wav; filename="plain.wav" """, "naïve.wav"),
    (rb"filename*=iso-8859-1'en'%A3%20rates.wav", "£ rates.wav"),
    (rb"FILENAME*=UTF-8''na%C3%AFve.wav", "naïve.wav"),
    (rb"""filename*="UTF-8''na%C3%AFve.wav" """, "naïve.wav"),
    (rb"filename*0*=UTF-8''na%C3%AF; filename*1=ve.wav", "naïve.wav"),
    (rb'filename*0="a long "; filename*1="name.wav"', "a long name.wav"),
    # what cannot be read leaves the plain name, or none: it is a file all the same
    (rb"filename=plain.wav; filename*=UTF-8''%ff.wav", "plain.wav"),
    (rb"filename=plain.wav; filename*=zlib''talk.wav", "plain.wav"),
    (rb"filename=plain.wav; filename*=undefined''talk.wav", "plain.wav"),
    (rb"filename*=nonsense''talk.wav", "upload"),
    (rb"filename*=", "upload"),
    # not the parameter, only its name inside a value
    (rb"""filename="a; filename*=UTF-8''evil.wav" """, "a; filename*=UTF-8''evil.wav"),
    (rb"""filename="5*.wav"; colour*=UTF-8''red""", "5*.wav"),
    # RFC 2047
    (rb'filename="=?utf-8?B?bmHDr3ZlLndhdg==?="', "naïve.wav"),
    (rb'filename="=?utf-8?q?na=C3=AFve_talk.wav?="', "naïve talk.wav"),
    (rb'filename="=?utf-8?B?bmHD?= =?utf-8?B?r3ZlLndhdg==?="', "naïve.wav"),
    (rb'filename="=?ISO-8859-1?Q?na=EFve.wav?="', "naïve.wav"),
    (rb'filename="=?nonsense?B?bmHDr3ZlLndhdg==?="', "=?nonsense?B?bmHDr3ZlLndhdg==?="),
    (rb'filename="=?utf-8?B?b?="', "=?utf-8?B?b?="),
    (rb'filename="is 1+1=?.wav"', "is 1+1=?.wav"),
    # what the standard library breaks at
    ('filename="=?é?q?talk.wav?="'.encode(), "=?é?q?talk.wav?="),
    (b'filename="=?ut\x00f8?q?talk.wav?="', "=?utf8?q?talk.wav?="),
    (b"filename=plain.wav; filename*=ut\x00f8''talk.wav", "plain.wav"),
    (rb"filename=plain.wav; filename*=utf-8''a; filename*0=b", "plain.wav"),
    (rb"filename*=unicode_escape''%5Cud800.wav", ".wav"),
    # escapes
    (rb'filename="na%C3%AFve%20talk.wav"', "naïve talk.wav"),
    (rb'filename="say %22hi%22.wav"', 'say "hi".wav'),
    (rb'filename="say \"hi\".wav"', 'say "hi".wav'),
    (rb'filename="100%.wav"', "100%.wav"),
    (rb'filename="100% of %41.wav"', "100% of %41.wav"),
    (rb'filename="%ff.wav"', "%ff.wav"),
    # no way out of the folder by any of them
    (rb'filename="..%2F..%2Fetc%2Fpasswd"', "passwd"),
    (rb"filename*=UTF-8''..%2f..%2fetc%2fpasswd%00%0a", "passwd"),
    (rb'filename="=?utf-8?B?Li4vLi4vZXRjL3Bhc3N3ZA==?="', "passwd"),
]


def test_the_name_that_the_user_gave(running: Service) -> None:
    found = []
    for sent, _ in NAMES:
        body = (
            b'--xyz\r\nContent-Disposition: form-data; name="file"; ' + sent + b"\r\n\r\n" + wav() + b"\r\n--xyz--\r\n"
        )
        answer = running.client.post(
            "/api/v1/jobs", content=body, headers={"Content-Type": "multipart/form-data; boundary=xyz"}
        )
        assert answer.status_code == 202, (sent, answer.text)
        found.append((sent, answer.json()["source"]["filename"]))
    assert found == NAMES


def test_a_plain_field_stays_one() -> None:
    for extra in (b"", b"; colour*=UTF-8''red", b'; comment="filename*=x"'):
        reader = MultipartReader(b"xyz")
        body = b'--xyz\r\nContent-Disposition: form-data; name="model"' + extra + b"\r\n\r\ntiny\r\n--xyz--\r\n"
        assert [event for event in reader.feed(body) if isinstance(event, PartStart)] == [
            PartStart(name="model", filename=None)
        ]


PIECES = [
    b"filename",
    b"*",
    b"0",
    b"1",
    b"=",
    b'"',
    b";",
    b"'",
    b"utf-8''",
    b"%C3",
    b"%",
    b"\xff",
    b" ",
    b"=?utf-8?B?",
    b"?=",
    b"\\",
]


@given(st.lists(st.sampled_from(PIECES), max_size=16).map(b"".join), st.booleans())
def test_no_header_is_too_odd(header: bytes, plain: bool) -> None:
    name = filename_of(b"form-data; " + header, header if plain else None)
    assert name is not None or not plain


@pytest.mark.parametrize("name", ["Vortrag ä 今天.wav", 'say "hi".wav', "50 % of it.wav"])
def test_a_client_library_as_it_is(running: Service, name: str) -> None:
    assert running.submit(name=name).json()["source"]["filename"] == name
