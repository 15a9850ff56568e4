"""Addresses that strangers name: none leads into our own network, and no server of theirs keeps us."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import trustme

from core.errors import Cancelled, ServiceError, TooLarge, UrlRefused, UrlUnreachable
from core.outbound.addresses import permitted
from core.outbound.client import Outbound
from core.outbound.resolver import ScriptedResolver, SystemResolver
from core.outbound.values import Rules
from tests.core.strange_server import BODY, StrangeServer, strange_server

HERE = ["127.0.0.1"]
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"]
PRIVATE = [
    *("127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "192.0.0.9", "192.0.2.1"),
    *("198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "::1", "fd12::1", "2001:db8::1", "::127.0.0.1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "::ffff:0:7f00:1"),
]
NEVER = [
    *("0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *(
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
        "::",
        "fe80::1",
        "fe80::1%lo",
    ),
    *("fec0::1", "ff02::1", "2002:7f00:1::", "2002:808:808::", "2001:0:1:2::3", "::ffff:169.254.169.254"),
    *("64:ff9b::a9fe:a9fe", "::ffff:0:a9fe:a9fe", "", "localhost", "127.1", "0x7f000001"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[StrangeServer]:
    with strange_server() as one:
        yield one


def outbound(answers: dict[str, Sequence[Sequence[str]]] | None = None, **rules: Any) -> Outbound:
    """One that knows files.test, which is this machine."""
    resolver = ScriptedResolver({"files.test": [HERE], **(answers or {})})
    return Outbound(Rules(**{"allow_private": True, "max_bytes": 10**6, **rules}), resolver=resolver)


def fetched(out: Outbound, url: str) -> bytes:
    with out.get(url) as download:
        return download.read()


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_permitted(address: str) -> None:
    assert permitted(address) and permitted(address, allow_private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_leave(address: str) -> None:
    assert not permitted(address) and permitted(address, allow_private=True)


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_permitted(address: str) -> None:
    assert not permitted(address) and not permitted(address, allow_private=True)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "files.test/a",
            "//files.test/a",
            "file:///etc/passwd",
            "ftp://files.test/",
            "gopher://files.test/",
            "http://",
        ),
        *("http:///a", "http://anna@files.test/", "http://anna:secret@files.test/", "http://files.test\\@127.0.0.1/"),
        *(
            "http://files.test:99999/",
            "http://files.test:x/",
            "http://[::1/",
            "http://files.test/\n",
            "javascript:alert(1)",
        ),
        *("http://files.test/" + "a" * 3000, "https://" + "\x00"),
        *("http://xn--/", "http://xn--a/", "http://files.test/\ud800"),
    ],
)
def test_what_is_no_address_is_refused_unasked(url: str) -> None:
    out = outbound()
    for ask in (lambda: out.check(url), lambda: fetched(out, url), lambda: out.post(url, b"", {})):
        with pytest.raises(UrlRefused) as refused:
            ask()
        assert "secret" not in refused.value.message


def test_ports_can_be_limited(server: StrangeServer) -> None:
    out = outbound(ports=frozenset({80, 443}))
    out.check("https://files.test/a")
    out.check("http://files.test:443/a")
    with pytest.raises(UrlRefused, match="among 80, 443"):
        out.check(server.url("/file"))


def test_a_file_arrives_whole_and_in_pieces(server: StrangeServer) -> None:
    out = outbound()
    assert fetched(out, server.url("/file")) == BODY
    with out.get(server.url("/file?token=1#part")) as download:
        parts = [download.read(0), download.read(1), download.read(70_000), download.read()]
        assert (
            b"".join(parts) == BODY and [len(part) for part in parts[:3]] == [0, 1, 70_000] and download.read(5) == b""
        )
        assert download.headers["content-length"] == str(len(BODY))
    path, headers, _ = server.requests[-1]
    assert path == "/file?token=1" and headers["host"] == f"files.test:{server.server_address[1]}"
    assert "cookie" not in headers and headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "127.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]"])
def test_every_spelling_of_this_machine_is_refused(server: StrangeServer, name: str) -> None:
    out = Outbound(Rules(), resolver=SystemResolver())
    seen = len(server.requests)
    for ask in (lambda url: fetched(out, url), lambda url: out.post(url, b"", {})):
        with pytest.raises(UrlRefused):
            ask(server.url("/file", name))
    assert len(server.requests) == seen


def test_one_bad_address_among_good_ones_is_enough(server: StrangeServer) -> None:
    out = outbound({"mixed.test": [["127.0.0.1", "169.254.169.254"]]})
    with pytest.raises(UrlRefused, match=r"mixed\.test"):
        fetched(out, server.url("/file", "mixed.test"))


def test_a_name_that_moves_is_asked_once_and_held_to_it(server: StrangeServer) -> None:
    resolver = ScriptedResolver({"moves.test": [HERE, ["169.254.169.254"]]})
    out = Outbound(Rules(allow_private=True, max_bytes=10**6, redirects=1), resolver=resolver)
    assert fetched(out, server.url("/file", "moves.test")) == BODY and resolver.asked == ["moves.test"]
    with pytest.raises(UrlRefused):
        fetched(out, server.url("/file", "moves.test"))
    moved = ScriptedResolver({"moves.test": [HERE, ["169.254.169.254"]]})
    with pytest.raises(UrlRefused):
        fetched(Outbound(out.rules, resolver=moved), server.url("/to/%2Ffile", "moves.test"))
    assert len(moved.asked) == 2, "each redirect is a new question"


def test_the_next_address_is_tried(server: StrangeServer) -> None:
    out = outbound({"two.test": [["127.0.0.2", "127.0.0.1"]]})
    assert fetched(out, server.url("/file", "two.test")) == BODY


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/", "http://inside.test/", "file:///etc/passwd", "http://a:b@files.test/", "http://["],
)
def test_redirects_are_checked_like_the_first(server: StrangeServer, target: str) -> None:
    from urllib.parse import quote

    out = outbound({"inside.test": [["fe80::1"]], "169.254.169.254": [["169.254.169.254"]]}, redirects=3)
    with pytest.raises(UrlRefused):
        fetched(out, server.url("/to/" + quote(target, safe="")))


def test_so_many_redirects_and_no_more(server: StrangeServer) -> None:
    assert fetched(outbound(redirects=1), server.url("/to/%2Ffile")) == BODY
    with pytest.raises(UrlRefused, match="more than 0 times"):
        fetched(outbound(), server.url("/to/%2Ffile"))
    seen = len(server.requests)
    with pytest.raises(UrlRefused, match="more than 3 times"):
        fetched(outbound(redirects=3), server.url("/loop"))
    assert len(server.requests) == seen + 4


@pytest.mark.parametrize(
    ("path", "error"),
    [
        *(("/endless", TooLarge), ("/declared", TooLarge), ("/short", UrlUnreachable), ("/silent", UrlUnreachable)),
        *(("/slow", UrlUnreachable), ("/slow-head", UrlUnreachable), ("/large-head", UrlUnreachable)),
        *(("/packed", UrlUnreachable), ("/nonsense", UrlUnreachable), ("/status/404", UrlUnreachable)),
        *(("/status/500", UrlUnreachable), ("/status/304", UrlUnreachable), ("/nothing", UrlUnreachable)),
    ],
)
def test_bad_servers_have_an_end(server: StrangeServer, path: str, error: type[ServiceError]) -> None:
    with pytest.raises(error):
        fetched(outbound(read_seconds=0.5, total_seconds=1.5), server.url(path))


def test_no_more_than_the_server_said(server: StrangeServer) -> None:
    assert fetched(outbound(), server.url("/longer")) == BODY[:10]


def test_reading_stops_at_the_limit(server: StrangeServer) -> None:
    assert fetched(outbound(max_bytes=len(BODY)), server.url("/file")) == BODY
    out = outbound(max_bytes=100_000)
    with out.get(server.url("/endless")) as download:
        assert len(download.read(1000)) == 1000
        with pytest.raises(TooLarge) as error:
            download.read()
    assert error.value.details == {"max_bytes": 100_000}


@pytest.mark.parametrize("path", ["/silent", "/slow", "/slow-head"])
def test_a_wait_can_be_cancelled(path: str) -> None:
    cancel, errors = threading.Event(), []

    def wait() -> None:
        try:
            with outbound(read_seconds=60, total_seconds=60).get(server.url(path), cancel=cancel) as download:
                download.read()
        except ServiceError as error:
            errors.append(error)

    with strange_server() as server:
        thread = threading.Thread(target=wait)
        thread.start()
        assert server.reached.wait(20)
        cancel.set()
        thread.join(20)
    assert not thread.is_alive() and isinstance(errors[0], Cancelled)


def test_what_is_not_there_is_unreachable() -> None:
    with pytest.raises(UrlUnreachable, match=r"unknown\.test"):
        fetched(outbound(), "http://unknown.test/?token=secret")
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    with pytest.raises(UrlUnreachable) as error:
        fetched(outbound(), f"http://files.test:{port}/?token=secret")
    assert "secret" not in error.value.message and error.value.retryable


def test_a_name_service_that_hangs_is_given_up() -> None:
    class Hanging:
        def __init__(self) -> None:
            self.released = threading.Event()

        def resolve(self, host: str) -> Sequence[str]:
            self.released.wait(30)
            return HERE

    resolver = Hanging()
    with pytest.raises(UrlUnreachable):
        fetched(Outbound(Rules(connect_seconds=0.3), resolver=resolver), "http://files.test/")
    resolver.released.set()


def test_the_environment_has_no_say(server: StrangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetched(outbound(), server.url("/file")) == BODY


def test_a_message_is_sent_once_and_its_answer_read_in_part(server: StrangeServer) -> None:
    out = outbound(max_bytes=64 * 1024)
    answer = out.post(server.url("/1000000"), b"{}", {"Content-Type": "application/json", "Webhook-Id": "1"})
    assert (answer.status, len(answer.body)) == (201, 64 * 1024)
    path, headers, body = server.requests[-1]
    assert (path, body, headers["content-type"], headers["webhook-id"]) == ("/1000000", b"{}", "application/json", "1")
    assert out.post(server.url("/0"), b"x" * 300_000, {}).body == b"" and len(server.requests[-1][2]) == 300_000


def test_the_certificate_is_held_against_the_name() -> None:
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("files.test").configure_cert(theirs)
    authority.configure_trust(ours)
    answers = {"other.test": [HERE]}
    with strange_server(theirs) as server:
        assert fetched(outbound(tls=ours), server.url("/file")) == BODY
        with pytest.raises(UrlUnreachable, match="certificate"):
            fetched(outbound(answers, tls=ours), server.url("/file", "other.test"))
        with pytest.raises(UrlUnreachable, match="certificate"):
            fetched(outbound(), server.url("/file"))
