"""Logs: one JSON object a line, with the fields that join them to requests."""

import json
import logging

from hulumed_platform.core.logging import JsonFormatter


def test_record_becomes_one_json_line_with_its_extra_fields() -> None:
    """Log shippers read a line as one JSON object; `extra` fields are how code adds a correlation id."""
    record = logging.LogRecord("room", logging.INFO, __file__, 1, "two\nlines", (), None)
    record.correlation_id = "abc"
    text = JsonFormatter("ingest").format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert (line["room"], line["level"], line["message"], line["correlation_id"]) == (
        "ingest",
        "INFO",
        "two\nlines",
        "abc",
    )


def test_exception_is_part_of_the_line() -> None:
    """The cause of an internal error must be found under its correlation id."""
    try:
        int("boom")
    except ValueError as error:
        record = logging.LogRecord("room", logging.ERROR, __file__, 1, "failed", (), (type(error), error, None))
    assert "boom" in json.loads(JsonFormatter("ingest").format(record))["exception"]
