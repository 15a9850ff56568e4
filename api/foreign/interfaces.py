"""The interfaces that there are: their routes, and the shape of their errors by the path that they have or lie under."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from api.foreign.asr import errors as asr_errors
from api.foreign.asr import routes as asr
from api.foreign.deepgram import errors as deepgram_errors
from api.foreign.deepgram import routes as deepgram
from api.foreign.openai import errors as openai_errors
from api.foreign.openai import routes as openai
from api.foreign.openai.realtime import routes as realtime
from api.foreign.parallel import errors as parallel_errors
from api.foreign.parallel import routes as parallel
from api.foreign.whispercpp import errors as whispercpp_errors
from api.foreign.whispercpp import routes as whispercpp
from api.http.problems import Told

ROUTERS = (deepgram.router, realtime.router, openai.router, whispercpp.router, asr.router, parallel.router)

TOLD: Mapping[str, Told] = MappingProxyType(
    # the first that fits: `/v1/listen` lies under `/v1`
    {deepgram.router.prefix: deepgram_errors.told}
    | {openai.router.prefix: openai_errors.told, parallel.router.prefix: parallel_errors.told}
    | dict.fromkeys(whispercpp.PATHS, whispercpp_errors.told)
    | dict.fromkeys(asr.PATHS, asr_errors.told)
)
