"""How many spikes of a simulated fortnight receivers are told of, by severity, and whether planted and labelled spikes
are among these.

    python benchmarks/alerts.py [--events 300000] [--posts 6000] [--seeds 3] [--data FOLDER]

Needs neither Kafka nor ClickHouse: the network is that of `engagement simulate --hours 336`, counted in plain Python;
detector, severity, groups and delivery queue are those of the workers, with one route of default settings. Labelled
series are CSV files with a labels.json beside them, if any. Exit 1 where more than two alerts a day are delivered, a
planted spike is not, or a labelled window has no spike that would be.
"""

import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import click

from processors.alerts.config import ALERTS_FILE
from processors.alerts.deliveries.delivery_queue import DeliveryQueue
from processors.alerts.deliveries.policy import DeliveryPolicy
from processors.alerts.grouping.causes import Causes
from processors.alerts.ports import Answer
from processors.spikes.alert_message import alert_of
from processors.spikes.backtest import judge_series
from processors.spikes.detection.life import Change
from processors.spikes.detection.series import read_labels, read_series
from processors.spikes.detection.state import MonitorPolicy, MonitorState
from processors.spikes.policy import DEFAULT_POLICY
from processors.spikes.ports import Evidence
from processors.spikes.severity import severity_of
from producers.simulation.policy import PlantedSpike, SimulationPolicy
from producers.simulation.records import simulated_records
from schemas.alerts import SEVERITIES, SpikeAlert

HOURS: Final = 336.0
DAYS: Final = 14
DAY: Final = 1440
MOST_A_DAY: Final = 2.0
PLANTED: Final = ("hashtag:stream@15000x60", "mention:wayne@8000x60")
DATA: Final = Path(os.environ.get("ENGAGEMENT_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


class Mention(NamedTuple):
    """A post, share or comment in a conversation."""

    minute: int
    post: str
    actor: str
    is_counted: bool


class Fortnight(NamedTuple):
    """The outcome of a simulated fortnight."""

    openings: Counter[str]
    """Openings of spikes, by kind of conversation."""
    severities: Counter[str]
    """Spikes by their highest severity."""
    groups: int
    told: list[SpikeAlert]
    """Delivered notices of all states."""


@click.command()
@click.option("--events", default=300_000, show_default=True)
@click.option("--posts", default=6_000, show_default=True)
@click.option("--seeds", default=3, show_default=True, help="Fortnights without a planted spike.")
@click.option("--data", default=DATA / "mentions", type=click.Path(path_type=Path), help="Folder of labelled series.")
def main(events: int, posts: int, seeds: int, data: Path) -> None:
    """Prints all figures."""
    kept = True
    for seed in range(1, seeds + 1):
        quiet = fortnight(events, posts, seed)
        kept &= show(f"seed {seed}", quiet)
    planted = fortnight(events, posts, 1, PLANTED)
    kept &= show(f"with {' and '.join(PLANTED)}", planted, len(PLANTED))
    told = {name for alert in planted.told if alert["state"] == "opened" for name in alert["conversations"]}
    missed = [spike for spike in PLANTED if spike.partition("@")[0] not in told]
    print(f"planted spikes delivered: {len(PLANTED) - len(missed)} of {len(PLANTED)}")
    found, windows = labelled(data) if (data / "labels.json").is_file() else (0, 0)
    print(f"labelled windows with a spike of at least `warning`: {found} of {windows}")
    sys.exit(0 if kept and not missed and found == windows else 1)


def fortnight(events: int, posts: int, seed: int, spikes: Sequence[str] = ()) -> Fortnight:
    """Simulates a fortnight and returns what a receiver is told of."""
    planted = tuple(map(PlantedSpike.parse, spikes))
    policy = SimulationPolicy(events=events, posts=posts, seed=seed, hours=HOURS, spikes=planted)
    mentions = mentions_of(policy)
    changes = list(changes_of(mentions))
    alerts = [alert_of(change, evidence_of(mentions[change.conversation], change)) for change in changes]
    openings = Counter(a["conversation"].partition(":")[0] for a in alerts if a["state"] == "opened")
    highest: dict[str, int] = {}
    for alert in alerts:
        severity = SEVERITIES.index(alert["severity"])
        highest[alert["spike_id"]] = max(severity, highest.get(alert["spike_id"], 0))
    told, groups = deliver(alerts)
    return Fortnight(openings, Counter(SEVERITIES[each] for each in highest.values()), groups, told)


def show(name: str, outcome: Fortnight, planted: int = 0) -> bool:
    """Prints the outcome of a fortnight, and returns whether few enough alerts beside planted ones were delivered."""
    states = Counter(alert["state"] for alert in outcome.told)
    kinds = ", ".join(f"{count} {kind}s" for kind, count in outcome.openings.most_common())
    levels = ", ".join(f"{outcome.severities[level]} {level}" for level in SEVERITIES)
    print(f"{name}: {outcome.openings.total()} openings ({kinds}) of {outcome.groups} causes; {levels}")
    print(
        f"  delivered: {states['opened']} alerts ({states['opened'] / DAYS:.1f} a day), "
        f"{states['grown']} times growth, {states['resolved']} ends",
        flush=True,
    )
    return (states["opened"] - planted) / DAYS <= MOST_A_DAY


def mentions_of(policy: SimulationPolicy) -> dict[str, list[Mention]]:
    """Returns all that is said in each conversation, likes and retractions left out."""
    mentions: defaultdict[str, list[Mention]] = defaultdict(list)
    keys_of_post: dict[str, list[str]] = {}
    for record in simulated_records(policy):
        event = json.loads(record.value or b"{}")
        if event.get("action", "add") != "add" or record.kind == "like":
            continue
        post, actor = event["post_id"], event["actor_id"]
        named = [f"hashtag:{tag}" for tag in event.get("hashtags", ())]
        named += [f"mention:{name}" for name in event.get("mentions", ())]
        if record.kind == "post":
            keys_of_post[post] = [f"thread:{post}", f"author:{event['channel']}/{actor}", *named]
        keys = dict.fromkeys([*keys_of_post.get(post, [f"thread:{post}"]), *named])
        minute = int(datetime.fromisoformat(event["occurred_at"]).timestamp()) // 60
        for key in keys:
            mentions[key].append(Mention(minute, post, actor, record.kind != "share"))
    return dict(mentions)


def changes_of(mentions: dict[str, list[Mention]]) -> Iterator[Change]:
    """Yields the states of all spikes, minute by minute."""
    counts: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for key, said in mentions.items():
        for mention in said:
            if mention.is_counted:
                counts[mention.minute][key] += 1
    state = MonitorState(MonitorPolicy())
    for minute in sorted(counts):
        yield from state.close_until(lambda name: minute)  # noqa: B023
        yield from state.close_minute(minute, list(counts[minute]), list(counts[minute].values()))
    yield from state.close_until(lambda name: max(counts) + 2 * DAY)


def evidence_of(said: list[Mention], change: Change) -> Evidence:
    """Returns the evidence of a change, counted in plain Python."""
    since, spans = change.seen_until - change.scale, DAY // change.scale
    own = [mention for mention in said if since <= mention.minute < change.seen_until]
    posts = Counter(mention.post for mention in own if mention.is_counted)
    before: list[set[str]] = [set() for _ in range(spans)]
    for mention in said:
        if 0 < since - mention.minute <= spans * change.scale:
            before[(since - 1 - mention.minute) // change.scale].add(mention.actor)
    top = posts.most_common(20)
    return Evidence(
        observed=posts.total() / change.scale,
        total=posts.total(),
        most=top[0][1] if top else 0,
        voices=len({mention.actor for mention in own}),
        voices_usual=sum(map(len, before)) / spans,
        channels=None,
        channels_usual=None,
        top_posts=tuple(post for post, _ in top),
        top_counts=tuple(count for _, count in top),
        top_authors=(),
        sql="",
    )


class _NoTally:
    """Counts nothing."""

    def count_fired(self, state: str) -> None: ...
    def count_suppressed(self, reason: str) -> None: ...
    def count_delivered(self, receiver: str, state: str) -> None: ...
    def count_failed(self, receiver: str) -> None: ...


def deliver(alerts: Sequence[SpikeAlert]) -> tuple[list[SpikeAlert], int]:
    """Returns the notices that a receiver of default settings gets, and the number of groups."""
    hook = {"kind": "webhook", "url": "http://127.0.0.1:9/"}
    file = {"receivers": {"hook": hook}, "routes": [{"match": "*", "to": "hook"}]}
    queue = DeliveryQueue(
        ALERTS_FILE.validate_python(file), (), _NoTally(), Random(1), alerts[0]["as_of"].timestamp(), DeliveryPolicy()
    )
    causes, told, groups = Causes(DeliveryPolicy().gather), list[SpikeAlert](), set[str]()
    moments: defaultdict[datetime, list[SpikeAlert]] = defaultdict(list)
    for alert in alerts:
        moments[alert["as_of"]].append(alert)
    for moment in sorted(moments):
        now = moment.timestamp()
        news = [each for alert in moments[moment] for each in causes.add(alert, now)]
        for alert, is_news in [*news, *causes.open_gathered(now + 10)]:
            groups.add(alert["spike_id"])
            (queue.add_alert if is_news or alert["spike_id"] not in queue else queue.update)(alert, now)
        while due := queue.start_due(now):
            for pending in due:
                told.append(pending.notice.alert)
                queue.record_answer(pending, Answer(True), now)
    return told, len(groups)


def labelled(data: Path) -> tuple[int, int]:
    """Returns how many labelled windows have a spike of at least `warning`, and the number of windows. Voices of these
    series are not known."""
    series = [read_series(path) for path in sorted(data.glob("*.csv"))]
    found = windows = 0
    for one, labels in zip(series, read_labels(data / "labels.json", series), strict=True):
        verdicts = judge_series(one, DEFAULT_POLICY)
        for start, end in labels.windows:
            windows += 1
            found += any(
                severity_of(
                    float(verdicts.observed[row]),
                    float(verdicts.expected[row]),
                    float(verdicts.scores[row]),
                    None,
                    None,
                )
                in ("warning", "critical")
                for row in range(start, end + 1)
                if verdicts.fires[row]
            )
    return found, windows


if __name__ == "__main__":
    main()
