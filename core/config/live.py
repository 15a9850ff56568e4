"""Settings of live streams."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings

from core.config.units import Seconds


class LiveSettings(BaseSettings):
    """The third part of `Settings`."""

    # --- live streams
    live_enabled: bool = Field(
        True, description="Serve live streams on this consumer: a process of its own, beside the engine."
    )
    max_live_streams: int = Field(
        0, ge=0, le=1000, description="Live streams at once on this consumer. 0: as many as its measured speed allows."
    )
    live_host: str = Field(
        "",
        description="Address on which this consumer takes streams from API processes of other machines. Empty: only from those of its own service (`parascribe serve`).",
    )
    live_port: int = Field(0, ge=0, le=65535, description="Port of LIVE_HOST; 0 picks a free one.")
    live_address: str = Field(
        "",
        description="host:port by which API processes reach LIVE_HOST and LIVE_PORT. Empty: this machine's own address.",
    )
    live_idle_seconds: Seconds = Field(
        300.0,
        ge=5,
        description="A stream that sends nothing at all for so long is ended; silence that is sent counts as audio.",
    )

    # --- Home Assistant
    wyoming_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port on which the API process speaks Wyoming, Home Assistant's voice protocol (extra `wyoming`; usual: 10300). 0: not at all. The protocol has no keys: whoever can reach the port may use it.",
    )
    wyoming_host: str = Field(
        "127.0.0.1", description="Address of WYOMING_PORT; one that others can reach needs ALLOW_OPEN=true as well."
    )
