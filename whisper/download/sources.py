"""Where a model can come from: an address, the object store; packages are in `whisper.download.carriers`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from core.errors import Cancelled, DiskFull, ModelInvalid, ModelUnavailable, ServiceError
from core.objects.store import ObjectStore
from whisper.download.fetch import CONNECT_SECONDS, PAUSES, fetch_url, shown
from whisper.download.part import PartFile, WholeCopy
from whisper.models.catalogue import DEMO, ModelInfo

if TYPE_CHECKING:  # see whisper.download.fetch
    import httpx

log = logging.getLogger(__name__)


class ModelSource(Protocol):
    """kind: its name in MODEL_SOURCES"""

    @property
    def kind(self) -> str: ...

    def gives(self, info: ModelInfo) -> bool:
        """Whether the model is to be expected here; nobody is asked."""
        ...

    def where(self, info: ModelInfo) -> str:
        """The place in words, fit for logs and messages."""
        ...

    def fetch(self, info: ModelInfo, part: PartFile) -> bool:
        """Bring `part` to its end; False when the model is not there. The caller checks what came.

        Raises ModelUnavailable, ModelInvalid, DiskFull, Cancelled.
        """
        ...


def http_client(*, connect: float = CONNECT_SECONDS, idle: float = 30.0) -> httpx.Client:
    """A client that gives up after `connect` seconds without a connection and `idle` seconds without a byte."""
    import httpx

    return httpx.Client(timeout=httpx.Timeout(idle, connect=connect), follow_redirects=True)


class AddressSource:
    """Models at `<address>/ggml-<name>.bin`.

    kind: `mirror` (MODEL_BASE_URL) or `hub` (their public home)
    pauses: seconds between tries of an address that brings nothing
    """

    def __init__(
        self,
        kind: str,
        address: str,
        *,
        client: Callable[[], httpx.Client] = http_client,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self.kind = kind
        self._address, self._client, self._pauses = address.rstrip("/"), client, pauses

    def gives(self, info: ModelInfo) -> bool:
        return self.kind != "hub" or info.name != DEMO.name  # which is bundled, and published nowhere

    def where(self, info: ModelInfo) -> str:
        return shown(self._url(info))

    def fetch(self, info: ModelInfo, part: PartFile) -> bool:
        url = self._url(info)
        with self._client() as client:
            fetch_url(client, url, part, pauses=self._pauses)
            if part.resumed and info.sha256 not in (None, part.sha256()):
                # the beginning may stem from another server or another day: one clean try before the source is blamed
                part.restart()
                fetch_url(client, url, part, pauses=self._pauses)
        return True

    def _url(self, info: ModelInfo) -> str:
        return f"{self._address}/{info.filename}"


class BucketSource:
    """Copies in the object store, under `models/ggml-<name>.bin`; consumers keep there what they fetched elsewhere."""

    kind = "bucket"

    def __init__(self, objects: ObjectStore) -> None:
        self.objects = objects

    def gives(self, info: ModelInfo) -> bool:
        return True

    def where(self, info: ModelInfo) -> str:
        return "the object store"

    def fetch(self, info: ModelInfo, part: PartFile) -> bool:
        copy = WholeCopy(part)
        try:
            stream = self.objects.open(self._key(info))
        except KeyError:
            return False
        except (DiskFull, Cancelled):
            raise
        except ServiceError as error:
            raise ModelUnavailable(error.message) from error
        try:
            with stream:
                copy.begin()  # an empty object is no reason to believe in what lay here
                while block := stream.read(1 << 20):
                    copy.write(block)
        except (ModelInvalid, ModelUnavailable, DiskFull, Cancelled):
            raise
        except ServiceError as error:
            raise ModelUnavailable(error.message) from error
        return True

    def publish(self, info: ModelInfo, path: Path) -> None:
        """Keep a copy of a verified file. Failing is no matter: the copy is a convenience for others."""
        try:
            with path.open("rb") as file:
                self.objects.put(self._key(info), file)
        except (ServiceError, OSError) as error:
            log.warning("Model %s could not be copied to the object store: %s", info.name, error)

    @staticmethod
    def _key(info: ModelInfo) -> str:
        return f"models/{info.filename}"
