"""The agent and receivers of people: kills between the states of a spike, quiet hours, pictures; a stand-in for Slack
and a mail server are on loopback."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from processors.alerts.agent import AlertAgent
from processors.alerts.config import AlertsConfig
from processors.alerts.connections import open_receivers
from processors.alerts.pictures.album import Album
from processors.alerts.ports import AlertPorts
from tests.fakes_alerts import T0, FakeReceiver, config_of, spike, until
from tests.mail_server import MailServer
from tests.slack_server import SlackServer
from tests.test_alert_agent import Bench, Thread, batch_of, run
from tests.test_alert_email import mail_settings
from tests.test_alert_pictures import Minutes
from tests.test_alert_slack import bot_settings

MIDNIGHT = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    server = SlackServer()
    yield server
    server.kill()
    assert not server.flaws


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[MailServer]:
    server = MailServer(tmp_path)
    yield server
    server.kill()


class PeopleBench(Bench):
    """A bench whose agents draw pictures."""

    async def start(self, partitions: tuple[int, ...] = (0, 1, 2, 3), tick: bool = True) -> AlertAgent:
        agent = await super().start(partitions, tick=False)
        ports = agent._ports
        pictures = Album(Minutes({int(T0) // 60 - 1: 80}), Thread())
        ports = AlertPorts(**{**vars(ports), "pictures": pictures})
        agent._ports = agent._deliveries._ports = ports
        if tick:
            self.ticking = asyncio.create_task(self._tick(agent))
        return agent


def people(slack: SlackServer, mail: MailServer) -> AlertsConfig:
    return config_of(
        {"room": bot_settings(slack), "desk": mail_settings(mail)},
        page="https://e.example",
    )


def test_a_spike_is_one_message_and_one_thread_whoever_is_killed_between_its_states(
    slack: SlackServer, mail: MailServer
) -> None:
    bench = PeopleBench(people(slack, mail))

    async def work() -> None:
        await bench.start()
        await bench.send(spike())
        await until(lambda: set(bench.outcomes().values()) == {"delivered"} and len(bench.outcomes()) == 2)
        await bench.kill()
        await bench.start()  # reads rows and spikes again
        await bench.send(spike(), spike(state="grown", minute=5))  # Kafka repeats what was not committed
        await until(lambda: bench.outcomes().get("room grown") == bench.outcomes().get("desk grown") == "delivered")
        await bench.kill()
        await bench.start()
        await bench.send(spike(state="resolved", minute=9))
        await until(lambda: set(bench.outcomes().values()) == {"delivered"} and len(bench.outcomes()) == 6)
        await bench.stop()

    run(work)
    [root] = slack.roots
    assert root["text"].startswith("#acme no longer spikes")
    told = slack.replies(root)
    assert [each["posted_as"] for each in told if "posted_as" in each] == ["5f/grown/2026-03-01T12:05Z", "5f/resolved"]
    assert len([each for each in told if "files" in each]) == 3
    assert "<https://e.example/spike/5f|Spike>" in str(root["blocks"])
    ids = [str(each.message["Message-ID"]) for each in mail.mails]
    assert len(ids) == len(set(ids)) == 3
    assert {str(each.message["References"]) for each in mail.mails[1:]} == {ids[0]}
    assert all(each.message.is_multipart() and "image/png" in str(each.message) for each in mail.mails)


def test_a_worker_that_is_killed_before_it_stored_the_reference_is_followed_by_one_that_finds_the_message(
    slack: SlackServer,
) -> None:
    bench = PeopleBench(config_of({"room": bot_settings(slack)}))

    async def work() -> None:
        await bench.start()
        bench.deliveries.away = True  # nothing of the delivery is stored
        slack.seconds = 0.2
        bench.deliveries.put(spike())
        bench.deliveries.away = False
        await bench.agent.process(batch_of(spike()))
        bench.deliveries.away = True
        await until(lambda: slack.roots)
        await bench.kill()
        bench.deliveries.away, slack.seconds = False, 0.0
        assert bench.outcomes() == {}
        await bench.start()
        await bench.send(spike(), spike(state="grown", minute=5))
        await until(lambda: bench.outcomes().get("room grown") == "delivered")
        await bench.stop()

    run(work)
    assert [root["posted_as"] for root in slack.roots] == ["5f/opened"]
    assert slack.roots[0]["text"].startswith("#acme has grown")


def test_the_night_is_one_message_whoever_is_killed_in_it(slack: SlackServer, mail: MailServer) -> None:
    quiet = {"quiet": {"hours": "22:00-07:00"}}
    config = config_of({"room": bot_settings(slack, **quiet), "desk": mail_settings(mail, **quiet), "pager": {}})
    pager = FakeReceiver()
    bench = PeopleBench(config)
    bench.now = MIDNIGHT.timestamp()
    names = ["a", "b", "c"]
    opened = [spike(name, since=MIDNIGHT, conversation=f"hashtag:{name}") for name in names]
    loud = spike("loud", since=MIDNIGHT, conversation="hashtag:loud", severity="critical")

    async def begin() -> None:
        bench.receivers = {**open_receivers(config), "pager": pager}
        await bench.start()

    async def work() -> None:
        await begin()
        await bench.send(*opened, loud)
        await until(lambda: list(bench.outcomes("loud").values()) == ["delivered"] * 3)
        await until(lambda: len(pager.took) == 4)
        await until(lambda: bench.outcomes("a").get("room opened") == "held: until 2026-03-02T07:00Z")
        await bench.kill()
        bench.now += 7.5 * 3600  # nobody is there at seven
        await begin()
        await until(lambda: all(bench.outcomes(name).get("room opened") == "delivered" for name in names))
        await until(lambda: all(bench.outcomes(name).get("desk opened") == "delivered" for name in names))
        await bench.kill()
        await begin()
        await bench.send(spike("a", "resolved", 500, since=MIDNIGHT, conversation="hashtag:a"))
        await until(lambda: bench.outcomes("a").get("room resolved") == bench.outcomes("a").get("desk resolved"))
        await until(lambda: bench.outcomes("a").get("room resolved") == "delivered")
        await bench.stop()

    run(work)
    assert [root["text"].partition("\n")[0].partition(":")[0] for root in slack.roots] == [
        "#loud spikes",
        "3 spikes, all still open",
        "#a no longer spikes",
    ]
    assert [each.message["Subject"] for each in mail.mails] == [
        "Spike of #loud",
        "3 spikes, all still open",
        "Re: Spike of #a",
    ]
