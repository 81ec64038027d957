"""How the journal of a process is kept: constant event words and fields, to standard error.

JSON lines when nobody watches (or the setting says so), short coloured lines on a terminal.
"""

from __future__ import annotations

import logging
import sys

import structlog

from schemas.settings import LogLevel, Settings

LEVELS: dict[LogLevel, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure(settings: Settings) -> None:
    """Let the loggers of this process write as *settings* say. Once, before anything runs."""
    as_json = settings.log_json if settings.log_json is not None else not sys.stderr.isatty()
    renderer: structlog.typing.Processor
    if as_json:
        # Without the variables of each frame: they hold what people say, and secrets.
        traces: structlog.typing.Processor = structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        )
        renderer = structlog.processors.JSONRenderer()
    else:
        traces = structlog.processors.ExceptionPrettyPrinter(sys.stderr)
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso" if as_json else "%H:%M:%S", utc=as_json),
            traces,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[settings.log_level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
