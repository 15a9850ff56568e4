"""Uploads in parts that bear a bad line: tus 1.0, and what it makes is a job like any other."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

from api.access.scopes import needs
from api.deps import NO_QUERY, PREFIX, Base, Batches, Parts, PartsDep, Who
from api.http.problems import responses
from api.schemas import UploadBody
from api.upload.parts import Adding
from api.upload.receiver import declared_length
from api.upload.tus import (
    EXTENSIONS,
    OFFSET_STREAM,
    VERSION,
    TusRoute,
    check_version,
    expires,
    file_and_options,
    metadata_of,
)
from core.errors import OffsetConflict, UploadNotFound, refusal
from core.jobs.job import new_id
from core.jobs.uploads import NewUpload, PartialUpload
from core.keys import JOBS
from core.store.owners import OwnerBatches, OwnerUploads
from core.submission.joining import asked_of

router = APIRouter(
    prefix=PREFIX, tags=["uploads"], route_class=TusRoute, dependencies=[needs(JOBS), NO_QUERY, Depends(check_version)]
)

OPEN_MOST = 1000
"""Uploads of one owner that are not complete."""

Version = Annotated[Literal["1.0.0"], Header(alias="Tus-Resumable", description="Version of the protocol.")]
MadeJob = {"X-Parascribe-Job": {"schema": {"type": "string"}, "description": "Id of the job, with the last byte."}}
PLACE: dict[str, Any] = {
    "Upload-Offset": {"schema": {"type": "integer"}, "description": "Bytes that are stored."},
    "Upload-Expires": {"schema": {"type": "string"}, "description": "When it is forgotten unless more comes."},
}


async def get_uploads(parts: PartsDep, who: Who) -> OwnerUploads:
    """The uploads in parts of who asks."""
    return parts.uploads(who)


async def get_upload_id(upload_id: Annotated[str, Path(description="Id of the upload.")]) -> str:
    """In its canonical spelling; what is no UUID is no upload."""
    try:
        return str(uuid.UUID(upload_id))
    except ValueError:
        raise UploadNotFound from None


Uploads = Annotated[OwnerUploads, Depends(get_uploads)]
UploadId = Annotated[str, Depends(get_upload_id)]


@router.options("/uploads", status_code=204, response_class=Response, responses=responses())
def upload_options(parts: PartsDep, who: Who) -> Response:
    """What of tus is spoken here, and how large a file may be."""
    headers = {"Tus-Version": VERSION, "Tus-Extension": EXTENSIONS}
    if most := parts.intake.within(who.limits.upload_mb).max_bytes:
        headers["Tus-Max-Size"] = str(most)
    return Response(status_code=204, headers=headers)


@router.post(
    "/uploads",
    status_code=201,
    responses=responses(
        "validation",
        "upload_protocol",
        "too_large",
        "unknown_model",
        "task_not_supported",
        "not_available",
        "batch_not_found",
        "batch_closed",
        "unsupported",
        "url_refused",
        "queue_full",
        "quota_exceeded",
        "insufficient_storage",
    ),
)
async def create_upload(
    request: Request,
    response: Response,
    uploads: Uploads,
    batches: Batches,
    parts: PartsDep,
    who: Who,
    base: Base,
    version: Version,
    length: Annotated[int, Header(alias="Upload-Length", ge=1, lt=2**53, description="Bytes of the file.")],
    metadata: Annotated[
        str,
        Header(
            alias="Upload-Metadata",
            description="`filename`, `batch` and options of the job, each with its value in Base64, with commas in between.",
        ),
    ] = "",
) -> UploadBody:
    """Begin an upload; its bytes come by PATCH. The options are checked now, before any byte is sent.

    With `batch` the job belongs to that batch, which has to be open until the last byte has come.
    """
    if declared_length(request):
        raise refusal({"field": "body", "message": "the first bytes come by PATCH, not with this request"})
    filename, options = file_and_options(metadata_of(metadata))

    def begin() -> PartialUpload:
        parts.intake.within(who.limits.upload_mb).check_size(length)
        asked = asked_of(batches.get, options)
        parts.intake.check(asked.options, usual=asked.batch is None)
        parts.admit(parts.jobs(who), who, length)
        new = NewUpload(id=new_id(), filename=filename, length=length, options=options, metadata=metadata)
        return uploads.begin_upload(new, most=OPEN_MOST)

    upload = await run_in_threadpool(begin)
    response.headers.update(_headers(upload) | {"Location": f"{base}/uploads/{upload.id}"})
    return UploadBody.of(upload, base=base)


@router.get(
    "/uploads/{upload_id}",
    responses={200: {"headers": PLACE | MadeJob}, **responses("upload_not_found", "expired", "validation")},
)
def get_upload(upload_id: UploadId, uploads: Uploads, base: Base, response: Response) -> UploadBody:
    """How far it has come: `Upload-Offset` is where to go on. tus asks by HEAD."""
    upload = uploads.upload(upload_id)
    response.headers.update(_headers(upload) | {"Upload-Length": str(upload.length)})
    if upload.metadata:
        response.headers["Upload-Metadata"] = upload.metadata
    return UploadBody.of(upload, base=base)


@router.patch(
    "/uploads/{upload_id}",
    status_code=204,
    response_class=Response,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {OFFSET_STREAM: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
    responses={
        204: {"description": "Stored. With the last byte `Location` is the job.", "headers": PLACE | MadeJob},
        **responses(
            "validation",
            "upload_protocol",
            "upload_not_found",
            "expired",
            "upload_locked",
            "offset_conflict",
            "not_media",
            "upload_too_slow",
            "unknown_model",
            "task_not_supported",
            "not_available",
            "batch_not_found",
            "batch_closed",
            "unsupported",
            "url_refused",
            "queue_full",
            "quota_exceeded",
            "insufficient_storage",
            "disk_full",
            "storage_unavailable",
        ),
    },
)
async def append_to_upload(
    request: Request,
    upload_id: UploadId,
    uploads: Uploads,
    batches: Batches,
    parts: PartsDep,
    who: Who,
    base: Base,
    version: Version,
    offset: Annotated[int, Header(alias="Upload-Offset", ge=0, lt=2**53, description="Bytes that are stored already.")],
) -> Response:
    """The next bytes, as many as come. What has come when the connection breaks is kept."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != OFFSET_STREAM:
        raise refusal({"field": "Content-Type", "message": f"must be {OFFSET_STREAM}"})
    upload = await run_in_threadpool(uploads.upload, upload_id)
    if upload.job_id is None:
        await run_in_threadpool(asked_of, batches.get, upload.options)  # before bytes come that nothing can be made of
        await run_in_threadpool(parts.admit, parts.jobs(who), who, declared_length(request) or 0)
        upload = await adding(parts, uploads, batches).add(request, upload_id, offset=offset)
        if upload.job_id is not None:
            parts.deps.notify(upload.job_id)
    elif offset != upload.length:
        raise OffsetConflict(f"The upload is complete: it has {upload.length} bytes, and is job {upload.job_id}.")
    headers = _headers(upload)
    if upload.job_id is not None:
        headers["Location"] = f"{base}/jobs/{upload.job_id}"
    return Response(status_code=204, headers=headers)


@router.delete(
    "/uploads/{upload_id}",
    status_code=204,
    responses=responses(
        "upload_not_found", "expired", "already_terminal", "upload_protocol", "storage_unavailable", "validation"
    ),
)
def delete_upload(upload_id: UploadId, uploads: Uploads, batches: Batches, parts: PartsDep, version: Version) -> None:
    """Give it up. One that has become a job is deleted with that."""
    adding(parts, uploads, batches).drop(upload_id)


def adding(parts: Parts, uploads: OwnerUploads, batches: OwnerBatches) -> Adding:
    return Adding(
        uploads=uploads, batches=batches, objects=parts.deps.objects, intake=parts.intake, receiver=parts.receiver
    )


def _headers(upload: PartialUpload) -> dict[str, str]:
    headers = {"Upload-Offset": str(upload.offset), "Cache-Control": "no-store"}
    if upload.job_id is not None:
        return headers | {"X-Parascribe-Job": upload.job_id}
    return headers | {"Upload-Expires": expires(upload.expires_at)}
