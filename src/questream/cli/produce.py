"""`questream produce`: questions from a file into the input topic."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_line, remark

if TYPE_CHECKING:
    from rich.status import Status


def produce(
    file: Annotated[
        Path, typer.Argument(help="Text lines, a table (CSV, TSV) or JSON (lines, or an array); `-` is stdin.")
    ],
    config: ConfigOption = None,
    set_: SetOption = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Questions per second; default: as fast as it goes.")
    ] = None,
    namespace: Annotated[str | None, typer.Option(help="Namespace that the questions belong to.")] = None,
    text_column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Column of the text, or a template such as '{subject} {body}'. May be repeated."
        ),
    ] = None,
    id_column: Annotated[str | None, typer.Option(metavar="NAME", help="Column of the id; default: `id`.")] = None,
    timestamp_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Column of the record's time, ISO 8601 or epoch; default: `ts`, `timestamp`."
        ),
    ] = None,
    timestamps: Annotated[
        bool, typer.Option(help="Whether records get the time that the file has for them, if any, or that of sending.")
    ] = True,
    namespace_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of the namespace; where empty, --namespace holds.")
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Column to send as a field of the record; '*': all others. May be repeated."),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Column to send as a header; '*': all others. May be repeated."),
    ] = None,
    format: Annotated[
        Literal["text", "table", "json"] | None,
        typer.Option(help="Format of the file; default: by its suffix or first line."),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Pass over lines that cannot be sent, and name them.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Send the questions of a file to the input topic, keyed by id, in the format that `input.*` sets.

    A line that cannot be sent is named, and nothing after it is sent; of a file that can be read twice nothing at all.
    Example: questream produce tickets.csv --text-column "{subject} {body}" --timestamp-column created_at
    """
    from questream.tools.producing.file_records import Columns, FileRecords, check_columns
    from questream.tools.producing.sending import send_file

    settings = load(config, set_)
    columns = Columns(text_column or (), id_column, timestamp_column, namespace_column, field or (), header or ())
    check_columns(columns, settings)
    records = FileRecords(settings, columns, namespace, format, timestamps)
    started = time.monotonic()
    with _on_stderr() as report:
        sent = send_file(records, file, report, rate=rate, skip_bad=skip_bad)
    seconds = time.monotonic() - started
    if as_json:
        document = {"sent": sent.count, "topic": settings.kafka.input_topic, "seconds": round(seconds, 3)}
        print_json(document | ({"skipped": sent.skipped} if skip_bad else {}))
        return
    passed_over = f", {sent.skipped:,} lines passed over" if sent.skipped else ""
    print_line(f"{sent.count:,} questions sent to {settings.kafka.input_topic} in {seconds:.1f} s{passed_over}")


class _Lines:
    """Remarks on stderr, where a count is shown too if that is a terminal."""

    def __init__(self, status: Status | None = None) -> None:
        self._status = status

    def notice(self, text: str) -> None:
        remark(f"questream: {text}")

    def sent(self, count: int) -> None:
        if self._status is not None:
            self._status.update(f"{count:,} sent")


@contextmanager
def _on_stderr() -> Iterator[_Lines]:
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console

    with Console(stderr=True).status("sending") as status:
        yield _Lines(status)
