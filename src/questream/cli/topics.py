"""`questream topics`: the topics of a stream."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_table, remark
from questream.errors import ExitCode

if TYPE_CHECKING:
    from questream.broker.topics import TopicReport

topics = typer.Typer(help="Create and check the topics.", no_args_is_help=True)


@topics.callback()
def _group() -> None:
    pass


@topics.command("create")
def create(
    config: ConfigOption = None,
    set_: SetOption = None,
    partitions: Annotated[
        int, typer.Option(min=1, help="Partitions of the input, output and cluster topic: the most workers at once.")
    ] = 6,
    replication_factor: Annotated[
        int, typer.Option(min=-1, help="Copies of each record; -1: the broker's default.")
    ] = -1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask the broker, but create nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Create the topics that do not exist, and check the others; exit code 1 if one cannot be used.

    Example: questream topics create --partitions 12 --replication-factor 3
    """
    from questream.tools.topics import check_topics, create_topics

    settings = load(config, set_)
    reports = (check_topics if dry_run else create_topics)(settings, partitions, replication_factor)
    _print(reports.topics, as_json)
    if reports.input_message_bytes is None:
        remark(
            f"how long a record of {settings.kafka.input_topic} may be is unknown: the right to DESCRIBE_CONFIGS is "
            "missing; give the other topics a max.message.bytes 64 KiB above it, or the longest records stop the stream"
        )
    if not reports.all_usable:
        raise typer.Exit(ExitCode.FAILED)


@topics.command("describe")
def describe(config: ConfigOption = None, set_: SetOption = None) -> None:
    """Print an AsyncAPI document of the topics and their records as JSON; needs no server.

    Example: questream topics describe --kafka.output_topic=support-clusters
    """
    from questream.tools.asyncapi import asyncapi_document

    print_json(asyncapi_document(load(config, set_)))


def _print(reports: list[TopicReport], as_json: bool) -> None:
    problems = {report.name: [str(problem) for problem in report.problems] for report in reports}
    if as_json:
        print_json([{**asdict(report), "problems": problems[report.name]} for report in reports])
        return
    print_table(
        ["role", "topic", "partitions#", "", "problems"],
        (
            [r.role, r.name, "" if r.partitions is None else str(r.partitions), r.outcome, "; ".join(problems[r.name])]
            for r in reports
        ),
    )
