"""The parts of a form as they come, in any order: fields are kept, files go into a store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol, TypeVar

from api.upload.filepart import FilePart, Store
from api.upload.form import Form
from api.upload.multipart import Event, PartData, PartEnd, PartStart
from core.errors import EmptyUpload, NotMedia, RequestError, refusal
from core.submission.intake import Intake

FIELD_BYTES = 16_384
"""Longest form field, in bytes, unless its form says more (`Form.large`)."""

Fields = dict[str, str]
"""The form's fields that come once, as sent."""

Repeated = dict[str, list[str]]
"""Those that may come several times, each in the order sent."""

CheckFields = Callable[[Fields], Awaitable[None]]
"""Checks the fields that came before the file, so that a bad one is refused before the file is sent."""

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file of a form, stored whole."""

    filename: str
    media_type: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Upload(StoredFile):
    """A complete form with its file."""

    fields: Fields
    repeated: Repeated


@dataclass(frozen=True, kw_only=True)
class Uploads:
    """A complete form with its files."""

    fields: Fields
    #: each with what its store is called
    files: list[tuple[str, StoredFile]]
    #: names of those that were not taken, and why
    refused: list[tuple[str, RequestError]]


class Filling(Protocol[T_co]):
    """A form that is coming in."""

    async def take(self, event: Event) -> None: ...
    async def finish(self) -> T_co:
        """That was all of it."""
        ...

    async def abort(self) -> None:
        """The rest will never come: make the store of the file that is coming in fail, and wait for that."""
        ...


class _Received(ABC):
    """Fields, and what is common of the file or files among them."""

    def __init__(self, spec: Form, check_fields: CheckFields, threads: Executor, intake: Intake) -> None:
        self._spec, self._check_fields = spec, check_fields
        self._threads, self._intake = threads, intake
        self._fields: Fields = {}
        self._repeated: dict[str, list[str]] = {name: [] for name in spec.repeated}
        self._file: FilePart | None = None
        self._current: tuple[str, bytearray] | FilePart | None = None

    async def take(self, event: Event) -> None:
        match event:
            case PartStart(name=name, filename=filename):
                await self._start(name, filename)
            case PartData(data=data):
                await self._data(data)
            case PartEnd():
                await self._end()

    async def abort(self) -> None:
        if self._file is not None:
            await self._file.abort()

    @abstractmethod
    async def _begin_file(self, name: str) -> FilePart:
        """Another file comes. Raises what its store, or there being one already, makes of it."""

    async def _start(self, name: str, filename: str | None) -> None:
        spec = self._spec
        if name == spec.file:
            if filename is None:
                raise refusal({"field": name, "message": "sent as a plain field; it has to be a part with a file name"})
            self._current = self._file = await self._begin_file(filename)
        elif name not in spec.fields:
            message = f"no such field; there are: {', '.join((spec.file, *spec.fields))}"
            raise refusal({"field": name, "message": message})
        elif name in self._fields:
            raise refusal({"field": name, "message": "sent more than once"})
        elif filename is not None:
            raise refusal({"field": name, "message": "sent as a file; it is a plain field"})
        else:
            self._current = (name, bytearray())

    async def _data(self, data: bytes) -> None:
        if isinstance(self._current, FilePart):
            await self._current.write(data)
        elif self._current is not None:
            name, value = self._current
            value += data
            most = self._spec.large.get(name, FIELD_BYTES)
            before = sum(map(len, self._repeated.get(name, ()))) if name in self._spec.large else 0
            if before + len(value) > most:
                raise refusal({"field": name, "message": f"longer than {most} bytes"})

    async def _end(self) -> None:
        if isinstance(self._current, tuple):
            name, value = self._current
            try:
                text = value.decode("utf-8")
            except UnicodeDecodeError:
                raise refusal({"field": name, "message": "not UTF-8"}) from None
            if name in self._repeated:
                self._repeated[name].append(text)
            else:
                self._fields[name] = text
        self._current = None


class Received(_Received):
    """A form with one file."""

    def __init__(self, spec: Form, store: Store, check_fields: CheckFields, threads: Executor, intake: Intake) -> None:
        super().__init__(spec, check_fields, threads, intake)
        self._store = store

    async def finish(self) -> Upload:
        file = self._file
        if file is None:
            raise refusal({"field": self._spec.file, "message": "missing"})
        await file.finish()
        return Upload(
            fields=self._fields,
            repeated=self._repeated,
            filename=file.filename,
            media_type=file.media_type,
            bytes=file.size,
            sha256=file.sha256,
        )

    async def _begin_file(self, name: str) -> FilePart:
        if self._file is not None:
            message = "more than one file; send each in a request of its own"
            raise refusal({"field": self._spec.file, "message": message})
        await self._check_fields(self._fields)
        return FilePart(name, store=self._store, threads=self._threads, intake=self._intake, head=self._spec.head)


class SeveralReceived(_Received):
    """A form with several files, all of them together no larger than one may be."""

    def __init__(
        self,
        spec: Form,
        stores: Callable[[], tuple[str, Store]],
        check_fields: CheckFields,
        threads: Executor,
        intake: Intake,
    ) -> None:
        super().__init__(spec, check_fields, threads, intake)
        self._stores, self._called, self._size = stores, "", 0
        self._files: list[tuple[str, StoredFile]] = []
        self._refused: list[tuple[str, RequestError]] = []

    async def finish(self) -> Uploads:
        if not self._files and not self._refused:
            raise refusal({"field": self._spec.file, "message": "missing"})
        return Uploads(fields=self._fields, files=self._files, refused=self._refused)

    async def _begin_file(self, name: str) -> FilePart:
        await self._check_fields(self._fields)
        self._called, store = self._stores()
        return FilePart(name, store=store, threads=self._threads, intake=self._intake, head=self._spec.head)

    async def _data(self, data: bytes) -> None:
        self._size += len(data)
        self._intake.check_size(self._size)
        try:
            await super()._data(data)
        except NotMedia as error:
            self._refuse(error)

    async def _end(self) -> None:
        file = self._current
        if isinstance(file, FilePart):
            try:
                await file.finish()
            except (EmptyUpload, NotMedia) as error:
                self._refuse(error)
            else:
                stored = StoredFile(
                    filename=file.filename, media_type=file.media_type, bytes=file.size, sha256=file.sha256
                )
                self._files.append((self._called, stored))
                self._file = None
        await super()._end()

    def _refuse(self, error: RequestError) -> None:
        """Nothing of it has been stored yet; what is left of it is read and thrown away."""
        assert self._file is not None
        self._refused.append((self._file.filename, error))
        self._file = self._current = None
