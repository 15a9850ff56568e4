"""What a cluster runs on, each behind a proxy that can break it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from scripts.servers import Minio, Valkey
from testbed.faults.proxy import FaultProxy


@dataclass(kw_only=True)
class Servers:
    """What a cluster needs: an empty database, a Valkey of the rig's own, a bucket; each behind a proxy."""

    database_url: str
    minio: Minio
    valkey: Valkey

    def __post_init__(self) -> None:
        parts = urlsplit(self.database_url)
        assert parts.hostname and parts.port
        self.database = FaultProxy(parts.hostname, parts.port)
        self.broker = FaultProxy("127.0.0.1", self.valkey.port)
        host, _, port = self.minio.endpoint.rpartition(":")
        self.storage = FaultProxy(host, int(port))
        self.bucket = f"faults-{os.urandom(5).hex()}"

    def environment(self) -> dict[str, str]:
        parts = urlsplit(self.database_url)
        return {
            "DATABASE_URL": self.database_url.replace(f"{parts.hostname}:{parts.port}", self.database.address),
            "BROKER_URL": self.valkey.url.replace(f"127.0.0.1:{self.valkey.port}", self.broker.address),
            "MINIO_ENDPOINT": self.storage.address,
            "MINIO_ACCESS_KEY": self.minio.access_key,
            "MINIO_SECRET_KEY": self.minio.secret_key,
            "MINIO_BUCKET": self.bucket,
            "MODEL_MIRROR": "false",
        }

    def close(self) -> None:
        for proxy in (self.database, self.broker, self.storage):
            proxy.close()
        self.valkey.close()
