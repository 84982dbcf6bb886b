"""The log: one structured line per event, to standard error or to a file that is rotated."""

from chronoduck.logs.lines import configure_logging, get_logger, line_writer, reopen_log

__all__ = ["configure_logging", "get_logger", "line_writer", "reopen_log"]
