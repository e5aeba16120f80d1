"""What is counted of events: kinds and routes, and never so many that a registry grows without end."""

from __future__ import annotations

from questream.metrics import MOST_ROUTES, EventMetrics


def test_events_are_counted_by_kind_and_route() -> None:
    metrics = EventMetrics()
    for kind, route in (("emerging", ""), ("spiking", "cards"), ("spiking", "cards")):
        metrics.count_event(kind, route)
    counted = metrics.registry.get_sample_value
    assert counted("questream_events_total", {"kind": "emerging", "route": ""}) == 1
    assert counted("questream_events_total", {"kind": "spiking", "route": "cards"}) == 2
    # A kind that nothing raised yet is there, so that a rate of it is known.
    assert counted("questream_events_total", {"kind": "quiet", "route": ""}) == 0


def test_routes_beyond_the_limit_are_counted_together() -> None:
    metrics = EventMetrics()
    for number in range(3 * MOST_ROUTES):
        metrics.count_event("spiking", f"team {number}")
    metrics.count_event("spiking", "team 7")
    counted = metrics.registry.get_sample_value
    assert counted("questream_events_total", {"kind": "spiking", "route": "team 7"}) == 2
    assert counted("questream_events_total", {"kind": "spiking", "route": "(others)"}) == 2 * MOST_ROUTES
    (family,) = (one for one in metrics.registry.collect() if one.name == "questream_events")
    routes = {sample.labels["route"] for sample in family.samples if sample.name.endswith("_total")}
    assert len(routes) == MOST_ROUTES + 2
