"""MinIO, which speaks S3."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from urllib.parse import urlsplit

import urllib3
from minio import Minio as S3Client

from scripts.guarded import GuardedProcess
from scripts.servers.minio_build import built_minio
from scripts.servers.server import Server


class Minio(Server):
    """The MinIO server. `endpoint` is host:port; a running one is named as http://KEY:SECRET@host:port."""

    name = "minio"
    variable = "PARASCRIBE_TEST_S3"

    @property
    def url(self) -> str:
        """http://host:port, without keys."""
        scheme = urlsplit(self.external).scheme if self.external else "http"
        return f"{scheme}://{self.endpoint}"

    @property
    def endpoint(self) -> str:
        return urlsplit(self.external).netloc.rpartition("@")[2] if self.external else f"127.0.0.1:{self.port}"

    @property
    def access_key(self) -> str:
        return urlsplit(self.external).username or "" if self.external else "parascribe"

    @property
    def secret_key(self) -> str:
        return urlsplit(self.external).password or "" if self.external else self._secret()

    def ping(self) -> None:
        # Its own /minio/health/ready says yes while requests are still refused.
        http = urllib3.PoolManager(timeout=5, retries=False)
        secure = self.url.startswith("https://")
        S3Client(self.endpoint, self.access_key, self.secret_key, secure=secure, http_client=http).list_buckets()

    def _launch(self) -> GuardedProcess:
        program, self.origin = self.find()
        env = {key: value for key, value in os.environ.items() if not key.startswith("MINIO_")}
        env |= {
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }
        data = self.folder / "data"
        command = [program, "server", "--quiet", "--address", f"127.0.0.1:{self.port}", str(data)]
        return GuardedProcess(command, log=self.folder / "log", cwd=self.folder, env=env)

    @staticmethod
    def find(say: Callable[[str], None] = print) -> tuple[str, str]:
        """Program and where it comes from; builds it when this user has none yet."""
        if found := shutil.which("minio"):
            return found, "PATH"
        return str(built_minio(say)), "built from its Go module"
