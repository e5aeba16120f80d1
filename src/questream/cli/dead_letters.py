"""`questream dead-letters`: what could not be processed, and sending it back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_line, print_table, printable, remark

if TYPE_CHECKING:
    from questream.broker.dead_letters import DeadLetter

dead_letters = typer.Typer(help="List and replay records that could not be processed.", no_args_is_help=True)

ReasonOption = Annotated[str | None, typer.Option(help="Only those with this reason, such as empty_text.")]


@dead_letters.command("list")
def list_(
    config: ConfigOption = None,
    set_: SetOption = None,
    reason: ReasonOption = None,
    show_values: Annotated[
        bool, typer.Option("--show-values", help="Show what was sent, question texts included.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the dead letters with time, reason and origin; values only on request.

    Example: questream dead-letters list --reason empty_text
    """
    from questream.tools.dead_letters import dead_letters

    rows = (_row(letter, replayed, show_values) for letter, replayed in dead_letters(load(config, set_), reason))
    if as_json:
        for row in rows:
            print_json(row)
    else:
        _print_table(list(rows), show_values)


@dead_letters.command("replay")
def replay(
    config: ConfigOption = None,
    set_: SetOption = None,
    reason: ReasonOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send dead letters back to the input topic, each once: a second replay sends only what is new.

    Example: questream dead-letters replay --reason text_too_long --dry-run
    """
    from questream.tools.dead_letters import count_replayable
    from questream.tools.dead_letters import replay as send_back

    settings = load(config, set_)
    count = (count_replayable if dry_run else send_back)(settings, reason)
    if as_json:
        print_json({**asdict(count), "dry_run": dry_run})
        return
    verb = "would be sent" if dry_run else "sent"
    print_line(f"{count.sent:,} dead letters {verb} back to {settings.kafka.input_topic}")
    if count.other_topic:
        remark(f"{count.other_topic:,} came from another topic; name it with --kafka.input_topic to replay them")
    if count.no_origin:
        remark(f"{count.no_origin:,} do not name their origin and stay in the topic")
    if count.gone:
        remark(f"{count.gone:,} refer to a record that the input topic no longer keeps, and stay in the topic")
    if count.too_large:
        remark(
            f"{count.too_large:,} refer to compressed batches that unpack to more than kafka.max_unpacked_bytes:"
            " raise that to replay them"
        )


def _row(letter: DeadLetter, replayed: bool, show_values: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "partition": letter.partition,
        "offset": letter.offset,
        "time": datetime.fromtimestamp(letter.timestamp / 1000, UTC).isoformat(timespec="seconds"),
        "reason": letter.reason,
        "stage": letter.stage,
        "error": letter.error,
        "attempts": letter.attempts,
        "origin": letter.origin._asdict() if letter.origin else None,
        "bytes": letter.reference.value_bytes if letter.reference else len(letter.value or b""),
        "reference": letter.reference._asdict() if letter.reference else None,
        "replayed": replayed,
    }
    if show_values:
        row["value"] = None if letter.value is None else letter.value.decode(errors="replace")
    return row


def _print_table(rows: list[dict[str, Any]], show_values: bool) -> None:
    columns = ["time", "reason", "stage", "origin", "bytes#", "replayed", *(["value…"] if show_values else [])]

    def cells() -> Iterator[list[str]]:
        for row in rows:
            origin = row["origin"]
            place = f"{origin['topic']}/{origin['partition']}/{origin['offset']}" if origin else "?"
            cells = [
                row["time"],
                row["reason"],
                row["stage"],
                place,
                "?" if row["bytes"] is None else f"{row['bytes']:,}",
                "yes" if row["replayed"] else "",
            ]
            yield [printable(cell) for cell in (*cells, *([row["value"] or ""] if show_values else []))]

    print_table(columns, cells())
    reasons = Counter(row["reason"] for row in rows)
    remark(
        f"{len(rows):,} dead letters" + "".join(f", {number:,} {reason}" for reason, number in reasons.most_common())
    )
