"""The dashboard of spikes: when they were, how large, who and what caused them, and who was told."""

from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, ValueMap, ValueMappingResult

from deploy.grafana.board import (
    CLICKHOUSE,
    Board,
    SqlQuery,
    ask,
    choice_variable,
    lines,
    query_variable,
    stat,
    table,
    text_variable,
)
from deploy.grafana.boards.links import TO_ADDRESS, TO_CONVERSATION, TO_POST, TO_SPIKE
from deploy.grafana.boards.spikes_sql import (
    CAUSE_SQL,
    CHANNELS_SQL,
    COLOURS,
    EVIDENCE_SQL,
    FAILING_SQL,
    KINDS,
    LEVEL_SQL,
    NEWEST_SQL,
    OPENINGS_SQL,
    POSTS_SQL,
    SPIKES_SHOWN,
    SPIKES_SQL,
    TIMELINE_SQL,
    TOLD_SQL,
)


def spikes_board() -> Board:
    """Makes the dashboard."""
    board = Board(
        "engagement-spikes",
        "Spikes and deliveries",
        "Sudden spikes of conversations: when, how large against the usual, who and what caused them, who was told.",
    )
    _add_variables(board)
    _add_numbers(board)
    _add_timeline(board)
    _add_one_spike(board)
    _add_deliveries(board)
    return board


def _add_variables(board: Board) -> None:
    board.lead_to_page()
    board.add_variable(text_variable("search", "Conversation has"))
    board.add_variable(choice_variable("kind", "Kind", KINDS))
    board.add_variable(choice_variable("severity", "Severity from", tuple(COLOURS)))
    board.add_variable(query_variable("channel", "Channel", CHANNELS_SQL))
    board.add_variable(query_variable("spike", "Spike", NEWEST_SQL))


def _add_numbers(board: Board) -> None:
    spikes = f"FROM conversation_spikes_v\nWHERE {SPIKES_SHOWN}"
    told = f"spike_id IN (SELECT spike_id {spikes})"
    numbers = (
        ("Spikes", "Spikes in this time that the variables let through.", f"SELECT count() {spikes}"),
        ("Going on", "Of these, spikes that have not ended.", f"SELECT countIf(ended_at IS NULL) {spikes}"),
        (
            "Causes",
            "Spikes that the same posts made at the same time count once.",
            f"SELECT uniqExact(group_id) {spikes}",
        ),
        (
            "Told",
            "States of these spikes that receivers have taken. Spikes below the severity of a route are not told.",
            f"SELECT countIf(outcome = 'delivered') FROM alert_deliveries_v WHERE {told}",
        ),
    )
    for title, description, sql in numbers:
        board.add(stat(title, description, "none").datasource(CLICKHOUSE).with_target(SqlQuery(sql)), 5, 4)
    waiting = stat(
        "Still to be told", "States that wait for a receiver, now.", "none", [(None, "green"), (1, "orange")]
    )
    board.add(ask(waiting, ("sum(engagement_alerts_waiting)", "waiting")), 4, 4)


def _add_timeline(board: Board) -> None:
    board.add_row("When")
    timeline = (
        StateTimeline()
        .title("Timeline")
        .description("Spikes of the 30 conversations with the most severe ones, in the colour of their last severity.")
        .unit("none")
        .no_value("no spike in this time")
        .datasource(CLICKHOUSE)
        .mappings([ValueMap({word: ValueMappingResult(color=colour) for word, colour in COLOURS.items()})])
        .with_transformation(
            DataTransformerConfig(
                id_val="partitionByValues",
                options={"fields": ["Conversation"], "keepFields": False, "naming": {"asLabels": True}},
            )
        )
        .with_target(SqlQuery(TIMELINE_SQL))
    )
    board.add(timeline, 14, 10)
    panel = lines("Openings", "Spikes that began, by severity.", "none", is_stacked=True, is_bars=True)
    board.add(panel.datasource(CLICKHOUSE).with_target(SqlQuery(OPENINGS_SQL, is_series=True)), 10, 10)
    board.add(
        table(
            "Spikes",
            "Level: comments and posts a minute. Spikes of one cause share its id. The id of a spike shows it below.",
            SPIKES_SQL,
            {"Conversation": TO_CONVERSATION, "Leading post": TO_POST, "Address": TO_ADDRESS, "Spike": TO_SPIKE},
            {"In one post": "percentunit", "Duration": "m"},
        ),
        24,
        12,
    )


def _add_one_spike(board: Board) -> None:
    board.add_row("One spike: $spike")
    words = "The judgement: what was usual, what was seen, and the query to check it with."
    board.add(table("Evidence", words, EVIDENCE_SQL, {"Conversation": TO_CONVERSATION}), 24, 4)
    panel = lines("Its conversation, a minute", "Comments and posts of each minute, against both levels.", "none")
    board.add(panel.datasource(CLICKHOUSE).with_target(SqlQuery(LEVEL_SQL, is_series=True)), 12, 9)
    words = "The posts that made it, at most 20, and the authors of the first five."
    board.add(table("Who caused it", words, POSTS_SQL, {"Post": TO_POST, "Address": TO_ADDRESS}), 12, 9)
    words = "Conversations in which the same posts made a spike at the same time. Receivers are told once."
    board.add(table("Of the same cause", words, CAUSE_SQL, {"Conversation": TO_CONVERSATION, "Spike": TO_SPIKE}), 12, 7)
    words = "Each receiver and state of the cause: when it was taken, or why not."
    board.add(table("Who was told of it", words, TOLD_SQL, units={"After the beginning": "s"}), 12, 7)


def _add_deliveries(board: Board) -> None:
    board.add_row("Deliveries")
    taken = ask(
        lines("States told", "States of spikes that each receiver has taken, a minute.", "none", is_bars=True),
        (
            "60 * sum by (receiver, state) (rate(engagement_alerts_delivered_total[$__rate_interval]))",
            "{{receiver}} {{state}}",
        ),
    )
    board.add(taken, 8)
    failed = ask(
        lines("Failures", "Attempts that a receiver refused or did not answer, a minute.", "none"),
        ("60 * sum by (receiver) (rate(engagement_alerts_failed_total[$__rate_interval]))", "{{receiver}}"),
    )
    board.add(failed, 8)
    held = ask(
        lines(
            "Not told",
            "States that wait for a receiver; states held back since the workers started, by why.",
            "none",
        ),
        ("sum by (receiver) (engagement_alerts_waiting)", "waiting for {{receiver}}"),
        ("sum by (reason) (engagement_alerts_suppressed_total)", "{{reason}}"),
    )
    board.add(held, 8)
    words = "What receivers answered to states that they have not taken; given up ones included."
    board.add(table("Deliveries that fail", words, FAILING_SQL), 24, 8)
