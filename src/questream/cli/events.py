"""`questream events run|deliver|list|tail`: what happens to clusters."""

from __future__ import annotations

import logging
import sys
from collections import deque
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load, load_with_logs
from questream.cli.output import print_json, print_line, printable, remark
from questream.errors import ExitCode

if TYPE_CHECKING:
    from questream.cli.run import Stopper
    from questream.settings import Settings
    from questream.tools.events import NamespaceEvent
    from questream.watch.delivery import Delivery
    from questream.watch.watcher import Watcher

logger = logging.getLogger(__name__)

events = typer.Typer(
    help="Find, publish and deliver events: clusters that are new, spiking, quiet or back.", no_args_is_help=True
)


NamespaceOption = Annotated[str | None, typer.Option("--namespace", help="One namespace alone; default: all.")]
BudgetOption = Annotated[
    float | None,
    typer.Option(
        "--false-alarms-per-day",
        min=0.01,
        max=1000,
        help="Budget of events without a cause; default: events.false_alarms_per_day.",
    ),
]
DecisionsOption = Annotated[
    int | None,
    typer.Option(
        "--decisions",
        min=1,
        max=5_000_000,
        help="Newest decisions of each partition to learn from; default: events.decisions.",
    ),
]
AskerOption = Annotated[
    Literal["key", "question"] | None,
    typer.Option(
        "--asker",
        help="Whose questions count once in a day: those of a record key, or each by itself; default: events.asker.",
    ),
]


@events.callback()
def _group() -> None:
    pass


@events.command("run")
def run_events(config: ConfigOption = None, set_: SetOption = None) -> None:
    """Publish the events of clusters to kafka.event_topic, each once, until SIGTERM or Ctrl-C.

    It runs beside the workers; of several one publishes, and the others wait.
    Example: questream events run --config questream.toml
    """
    from questream.cli.run import Stopper

    stopper = Stopper()
    settings = load_with_logs(config, set_)
    from questream.watch.watcher import Watcher

    _run_with_probes(Watcher(settings), settings, stopper, "events are looked for")


@events.command("deliver")
def deliver_events(
    at: Annotated[
        list[str] | None,
        typer.Option(
            "--at", help="Send the event at this partition and offset of the topic once more, 0/4711, and end; several."
        ),
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Deliver the events of kafka.event_topic to the receiver webhooks.url, until SIGTERM or Ctrl-C.

    What it does not take is sent again, for webhooks.patience_seconds, and stays in the topic.
    Example: questream events deliver --webhooks.url_file=/run/secrets/slack --webhooks.body=slack
    """
    from questream.cli.run import Stopper

    stopper = Stopper()
    settings = load_with_logs(config, set_)
    from questream.watch.delivery import Delivery

    if at:
        _redeliver(settings, at, as_json)
        return
    _run_with_probes(Delivery(settings), settings, stopper, "events are delivered")


def _redeliver(settings: Settings, at: list[str], as_json: bool) -> None:
    from questream.watch.delivery import redeliver

    places = [_place(text) for text in at]
    outcomes = redeliver(settings, places)
    for text, outcome in zip(at, outcomes, strict=True):
        if as_json:
            print_json({"at": text, "delivered": outcome.fault is None, "fault": outcome.fault})
        else:
            print_line(f"{text}  {'delivered' if outcome.fault is None else outcome.fault}")
    if any(outcome.fault is not None for outcome in outcomes):
        raise typer.Exit(ExitCode.FAILED)


def _place(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition("/")
    if not (partition.isascii() and partition.isdigit() and offset.isascii() and offset.isdigit()):
        raise typer.BadParameter("must be a partition and an offset, such as 0/4711", param_hint="--at")
    return int(partition), int(offset)


def _run_with_probes(process: Watcher | Delivery, settings: Settings, stopper: Stopper, message: str) -> None:
    """Run it until a signal, with `/metrics`, `/livez` and `/readyz` beside it."""
    from questream.stream.starting import open_port

    condition, health = process.condition, open_port(settings.metrics)
    health.show(process.metrics.registry, condition.live, condition.ready, condition.remark)
    logger.info(message, extra={"metrics_port": health.port})
    stopper.stop_on_signal(process)
    try:
        process.run()
    finally:
        health.close()


@events.command("list")
def list_events(
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many of the newest to show.")] = 50,
    false_alarms_per_day: BudgetOption = None,
    decisions: DecisionsOption = None,
    asker: AskerOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the events of clusters in the decisions of the output topic, the newest last.

    Example: questream events list --namespace default --false-alarms-per-day 1
    """
    from questream.tools.events import open_events

    settings = _with_options(load(config, set_), false_alarms_per_day, decisions, asker)
    with open_events(settings, namespace) as found:
        newest = deque(found.past(), maxlen=limit)
    for found_event in newest:
        _print(found_event, settings.kafka.output_topic, as_json)


@events.command("tail")
def tail_events(
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    max_events: Annotated[int | None, typer.Option("--max", min=1, help="End after so many events.")] = None,
    false_alarms_per_day: BudgetOption = None,
    decisions: DecisionsOption = None,
    asker: AskerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow the events of clusters, a line each, until Ctrl-C; it first learns from the decisions in the topic.

    Example: questream events tail --namespace default --max 10 --json
    """
    from itertools import islice

    from questream.tools.events import open_events

    settings = _with_options(load(config, set_), false_alarms_per_day, decisions, asker)
    with open_events(settings, namespace) as found:
        past = sum(1 for _ in found.past())
        remark(f"{past} events before; following {settings.kafka.output_topic}; Ctrl-C ends")
        for found_event in islice(found.coming(), max_events):
            _print(found_event, settings.kafka.output_topic, as_json)
            sys.stdout.flush()


def _with_options(
    settings: Settings, false_alarms_per_day: float | None, decisions: int | None, asker: str | None
) -> Settings:
    options = {"false_alarms_per_day": false_alarms_per_day, "decisions": decisions, "asker": asker}
    given = {name: value for name, value in options.items() if value is not None}
    return settings.model_copy(update={"events": settings.events.model_copy(update=given)})


def _print(found: NamespaceEvent, topic: str, as_json: bool) -> None:
    """`2026-11-24 12:03:04  default  c17  spiking  8 where 1.2 were expected, since 2026-11-24 11:40:12`."""
    from questream.records.events import event_document
    from questream.records.times import format_time

    document = event_document(found.namespace, found.event, topic)
    if as_json:
        print_json(document)
        return
    event = found.event
    at, since = (format_time(time)[:19].replace("T", " ") for time in (event.time_ms, event.since_ms))
    if event.kind in ("emerging", "spiking"):
        what = f"{event.count} askers where {event.expected:.1f} were expected, since {since}"
    else:
        what = f"last asked {since}"
    print_line(printable(f"{at}  {found.namespace}  {event.cluster:<8}{event.kind:<10}{what}"))
