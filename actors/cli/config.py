"""The settings of the command line."""

from typing import Annotated

from bus.config import Config
from schemas.settings import Count, env


class CliConfig(Config):
    """What a user decides of the commands that follow a stream."""

    stream_buffer_size: Annotated[
        Count,
        env("STREAM_BUFFER_SIZE", "live events a slow `callboard run` or `stream` keeps in memory"),
    ] = 1000
