"""What the routes are given: one value, made by the wiring, reached through the app."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from fastapi import Depends, Path, Request
from starlette.requests import HTTPConnection

from api.access.identity import Identity, identity_of
from api.access.keys import KeptKeys, Sessions
from api.access.throttle import RequestLimiter
from api.audio.forms import FormName
from api.audio.peaks import KeptPeaks, Measure
from api.audio.renditions import Encode, Give, Renditions
from api.events.hub import Hub
from api.events.status import StatusReads
from api.http.metrics import HEARD_SECONDS, Asked, Metrics
from api.http.readiness import Check, Readiness
from api.http.storage import KeptSizes
from api.live.link import LiveLinks
from api.live.relay import RelayLinks
from api.live.where import Places
from api.upload.receiver import Receiver, UploadLimits
from core.audio.sniff import Probe
from core.config.settings import Settings
from core.errors import JobNotFound, ServiceError, Unsupported, UrlRefused, refusal
from core.jobs.consumers import enhancements
from core.jobs.job import Job
from core.jobs.params import JobParams
from core.objects.store import ObjectStore
from core.store.owners import OwnerBatches, OwnerJobs, OwnerUploads, OwnerVoices
from core.store.protocols import Consumers, JobStore, Keys
from core.store.webhooks import OwnerWebhooks, Webhooks
from core.submission.checks import Translations
from core.submission.intake import Intake, Limits
from core.submission.joining import batch_of
from core.submission.origins import Origins
from core.submission.quota import check_quota
from whisper.models.catalogue import ModelInfo
from whisper.models.store import ModelStatus

PREFIX = "/api/v1"
"""Where all routes lie but those of `api.routes.service.health` and other people's (`api.foreign`)."""


class ApiStore(JobStore, Keys, Webhooks, Consumers, Protocol):
    """The roles of the store that the API works with."""


class Models(Protocol):
    """What is asked of the model store (`whisper.models.store.ModelStore`)."""

    def info(self, name: str) -> ModelInfo:
        """Raises UnknownModel, ModelInvalid."""
        ...

    def list(self) -> tuple[ModelStatus, ...]: ...


def _no_measure(job: Job) -> bytes:
    raise ServiceError("There is no program here that measures audio.")


def _no_encode(job: Job, name: FormName, give: Give) -> None:
    raise Unsupported("There is no program here that makes audio playable.")


def _refuse_url(url: str) -> None:
    raise UrlRefused("Nothing here sends webhooks.")


@dataclass(frozen=True, kw_only=True)
class ApiDeps:
    """The parts the API works with.

    notify: told of each job that waits, while its client waits for the answer: must neither block nor raise
    system: the body of `GET /system`: resolved plan, cores, memory, engine and ffmpeg versions
    checks: for `/readyz`; each raises when its part does not work, and then no job can be accepted
    advisory: told by `/readyz`, but no reason to be unready: broker, model (ModelUnavailable shows as `missing`)
    free_bytes: space left where uploads land; None where it cannot be known (S3)
    measure: makes the peaks of a job's audio (`api.audio.peaks.Measure`)
    encode: makes a job's audio into another form (`api.audio.renditions.Encode`)
    probe: says what a file is that `core.audio.sniff` does not know, by its beginning; may take a while
    version: of the program
    options: the table of what may be asked of a job
    limiter: counts the requests of each key
    check_url: raises UrlRefused for an address that no webhook is sent to
    origins: where files may come from that a request only names; None: from nowhere (`Parts` has one all the same)
    live: where live streams go; None: to the live processes that consumers tell of
    translations: who translates; None: that is not known
    """

    settings: Settings
    objects: ObjectStore
    models: Models
    notify: Callable[[str], object]
    system: Callable[[], dict[str, Any]]
    checks: Mapping[str, Check]
    advisory: Mapping[str, Check] = field(default_factory=dict)
    free_bytes: Callable[[], int] | None = None
    limits: UploadLimits = field(default_factory=UploadLimits)
    measure: Measure = _no_measure
    encode: Encode = _no_encode
    probe: Probe = lambda _: None
    version: str
    options: type[JobParams] = JobParams
    limiter: RequestLimiter = field(default_factory=RequestLimiter)
    check_url: Callable[[str], object] = _refuse_url
    origins: Origins | None = None
    live: LiveLinks | None = None
    translations: Translations | None = None

    def intake(self, enhancements: Callable[[], Collection[str] | None]) -> Intake:
        """The rules by which files are taken in. enhancements: as `Intake` has it"""
        settings = self.settings
        return Intake(
            objects=self.objects,
            models=self.models,
            default_model=settings.whisper_model,
            limits=Limits(
                max_bytes=int(settings.max_upload_mb * 1024 * 1024),
                max_queued=settings.max_queued_jobs,
                min_free=settings.min_free_disk_mb * 1024 * 1024,
            ),
            free_bytes=self.free_bytes,
            probe=self.probe,
            options=self.options,
            defaults=settings.job_defaults,
            check_url=self.check_url,
            enhancements=enhancements,
            translations=self.translations,
        )


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What an app makes from its ApiDeps and its store, and keeps as long as it runs.

    The store itself is not among it: a route has the jobs of who asks (`Jobs`).

    waiting: number of queued jobs, counted up to the given one
    places: the live processes there are; live: streams to them
    """

    deps: ApiDeps
    jobs: Callable[[Identity], OwnerJobs]
    webhooks: Callable[[Identity], OwnerWebhooks]
    uploads: Callable[[Identity], OwnerUploads]
    batches: Callable[[Identity], OwnerBatches]
    voices: Callable[[Identity], OwnerVoices]
    waiting: Callable[[int], int]
    metrics: Metrics
    intake: Intake
    receiver: Receiver
    origins: Origins
    readiness: Readiness
    status: StatusReads
    sessions: Sessions
    keys: KeptKeys
    sizes: KeptSizes
    hub: Hub
    peaks: KeptPeaks
    renditions: Renditions
    places: Places
    live: LiveLinks

    @staticmethod
    def of(deps: ApiDeps, store: ApiStore) -> Parts:
        everybodys = store.of(None, all_jobs=True)
        asked = Asked(
            counts=store.counts, backlog=everybodys.backlog, consumers=store.consumers, undelivered=store.undelivered
        )
        metrics = Metrics(asked, version=deps.version)
        intake = deps.intake(
            lambda: enhancements(row.info for row in store.consumers() if row.silent_seconds < HEARD_SECONDS)
        )
        reads = StatusReads(store)

        def audio_there(job_id: str) -> bool:
            try:
                return not everybodys.get(job_id).expired_audio
            except JobNotFound:
                return False

        places = Places(store.consumers)
        disk = {"disk": intake.check_disk} if deps.free_bytes is not None else {}
        return Parts(
            deps=deps,
            jobs=lambda who: store.of(who.owner, all_jobs=who.all_jobs),
            webhooks=lambda who: store.webhooks_of(who.owner, all_webhooks=who.all_jobs),
            uploads=lambda who: store.uploads_of(who.owner, all_jobs=who.all_jobs),
            batches=lambda who: store.batches_of(who.owner, all_jobs=who.all_jobs),
            voices=lambda who: store.voices_of(who.owner),
            waiting=lambda at_most: store.waiting(at_most=at_most),
            metrics=metrics,
            intake=intake,
            origins=deps.origins or Origins(objects=deps.objects),
            readiness=Readiness({**deps.checks, **disk}, deps.advisory),
            receiver=Receiver(intake=intake, limits=deps.limits, count=metrics.received),
            sessions=Sessions(store),
            keys=KeptKeys(store, deps.settings.known_keys),
            sizes=KeptSizes(store.sizes),
            status=reads,
            hub=Hub(store, reads),
            peaks=KeptPeaks(deps.objects, deps.measure),
            renditions=Renditions(
                deps.objects,
                deps.encode,
                most=deps.settings.max_audio_conversions,
                there=audio_there,
                room=intake.check_disk,
                folder=deps.settings.work_path,
            ),
            places=places,
            live=deps.live or RelayLinks(places, check=intake.check, metrics=metrics.live),
        )

    def admit(self, jobs: OwnerJobs, who: Identity, size: int, *, more: int = 1) -> None:
        """Whether one more job (or so many) may come, with an upload of so many bytes. Raises QuotaExceeded, QueueFull,
        InsufficientStorage."""
        check_quota(jobs, who.limits, more=more)
        self.intake.check_room(self.waiting, size, more=more)

    def close(self) -> None:
        """Stop the threads."""
        self.receiver.close()
        self.hub.close()
        self.status.close()


async def get_parts(request: Request) -> Parts:
    parts = request.app.state.parts
    assert isinstance(parts, Parts)
    return parts


async def get_deps(parts: Annotated[Parts, Depends(get_parts)]) -> ApiDeps:
    return parts.deps


async def get_identity(request: Request) -> Identity:
    return identity_of(request.scope)


async def get_jobs(
    parts: Annotated[Parts, Depends(get_parts)], who: Annotated[Identity, Depends(get_identity)]
) -> OwnerJobs:
    """The jobs of who asks."""
    return parts.jobs(who)


async def get_batches(
    parts: Annotated[Parts, Depends(get_parts)], who: Annotated[Identity, Depends(get_identity)]
) -> OwnerBatches:
    """The batches of who asks."""
    return parts.batches(who)


async def get_base(request: HTTPConnection) -> str:
    """Path under which the API's routes lie: links stay right behind a proxy that serves a sub-path."""
    return str(request.scope.get("root_path", "")).rstrip("/") + PREFIX


async def get_job_id(job_id: Annotated[str, Path(description="Id of the job.")]) -> str:
    """The id in its canonical spelling. Anything that is no UUID is no job either: 404 without asking the database."""
    try:
        return str(uuid.UUID(job_id))
    except ValueError:
        raise JobNotFound from None


async def get_batch_id(batch_id: Annotated[str, Path(description="Id of the batch.")]) -> str:
    """As `get_job_id`."""
    return batch_of(batch_id)


async def no_repeats(request: HTTPConnection) -> None:
    """A parameter given twice is refused: one of the two would be ignored."""
    counted = Counter(name for name, _ in request.query_params.multi_items())
    if repeated := sorted(name for name, count in counted.items() if count > 1):
        raise refusal(*({"field": name, "message": "given more than once"} for name in repeated))


async def no_query(request: Request) -> None:
    """For routes without parameters in the query: what is given there would be ignored, so it is refused."""
    if request.query_params:
        raise refusal(*({"field": name, "message": "no such parameter here"} for name in sorted(request.query_params)))


NO_REPEATS, NO_QUERY = Depends(no_repeats), Depends(no_query)

PartsDep = Annotated[Parts, Depends(get_parts)]
Deps = Annotated[ApiDeps, Depends(get_deps)]
Who = Annotated[Identity, Depends(get_identity)]
Jobs = Annotated[OwnerJobs, Depends(get_jobs)]
Batches = Annotated[OwnerBatches, Depends(get_batches)]
Base = Annotated[str, Depends(get_base)]
JobId = Annotated[str, Depends(get_job_id)]
BatchId = Annotated[str, Depends(get_batch_id)]
