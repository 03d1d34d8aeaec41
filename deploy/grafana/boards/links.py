"""Where cells of tables lead: to another dashboard, to the live page, to the post itself."""

from typing import Final

Lead = tuple[tuple[str, str], ...]
"""Title and address of each link of a cell."""

_HERE: Final = (
    "${__url_time_range}&var-clickhouse=${clickhouse:percentencode}&var-prometheus=${prometheus:percentencode}"
)
"""The range and the data sources of the dashboard that a link leaves."""

_VALUE: Final = "${__value.raw:percentencode}"

TO_POST: Final[Lead] = (
    ("Show the post", f"/d/engagement-post/post?{_HERE}&var-post={_VALUE}"),
    ("Open its page", f"${{page}}/post/{_VALUE}"),
)
TO_CONVERSATION: Final[Lead] = (
    ("Show the conversation", f"/d/engagement-conversation/conversation?{_HERE}&var-conversation={_VALUE}"),
    ("Show its spikes", f"/d/engagement-spikes/spikes?{_HERE}&var-search={_VALUE}"),
    ("Open its page", f"${{page}}/conversation/{_VALUE}"),
)
TO_THREAD: Final[Lead] = (
    ("Show the post", f"/d/engagement-post/post?{_HERE}&var-post={_VALUE}"),
    ("Show its answers", f"/d/engagement-conversation/conversation?{_HERE}&var-post={_VALUE}"),
    ("Open its page", f"${{page}}/post/{_VALUE}"),
)
TO_SPIKE: Final[Lead] = (("Show this spike", f"/d/engagement-spikes/spikes?{_HERE}&var-spike={_VALUE}"),)
TO_AUTHOR: Final[Lead] = (
    (
        "Show the author's posts",
        f"/d/engagement-virality/virality?{_HERE}&var-author={_VALUE}"
        "&var-channel=${__data.fields.Channel:percentencode}",
    ),
    ("Open the author's page", f"${{page}}/author/${{__data.fields.Channel:percentencode}}/{_VALUE}"),
)
TO_ADDRESS: Final[Lead] = (("Open the post", "${__value.raw:raw}"),)
