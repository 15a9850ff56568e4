"""Fetch and build what is missing; print where each server comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scripts.servers import Minio, Postgres, Valkey


def main() -> None:
    found: Mapping[str, Callable[[], tuple[object, str]]] = {
        "PostgreSQL": Postgres.find,
        "Valkey": Valkey.find,
        "MinIO": Minio.find,
    }
    for name, find in found.items():
        program, origin = find()
        print(f"{name:12}{origin}: {program}")


if __name__ == "__main__":
    main()
