"""Hundreds of broken alerts files, each refused with file, line, field and cure; and working ones, each of which really
delivers."""

import base64
import hashlib
import hmac
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.cli import main
from tests.fakes_alerts import HttpServer

KEY = b"0123456789abcdef01234567"
SECRETS = {
    "CHAT_URL": "http://127.0.0.1:9/T0/hunter2hunter2",
    "HOOK_SECRET": "whsec_" + base64.b64encode(KEY).decode(),
    "BEAT_URL": "http://127.0.0.1:9/beat/hunter2",
    "TOKEN": "Bearer hunter2",
    "SPLIT": "Bearer hunter2\r\nX-Evil: 1",
    "BLANK": " ",
    "EMPTY": "",
    "NO_URL": "hunter2",
    "WITH_USER": "http://ana:hunter2@127.0.0.1:9/",
}
BASE = """\
receivers:
  pager:
    kind: alertmanager
    urls:
      - http://127.0.0.1:9
    hold: 15m
    timeout: 5s
  chat:
    kind: slack
    url: {env: CHAT_URL}
    rate: 20/minute
  hook:
    kind: webhook
    url: http://127.0.0.1:9/hook
    secret: {env: HOOK_SECRET}
    headers:
      X-Team: social
      Authorization: {env: TOKEN}
routes:
  - match: brand:acme
    to: [pager, hook]
    severity: critical
    continue: true
  - match: ["brand:*", "hashtag:*"]
    to: chat
    min_severity: info
silences:
  - match: hashtag:christmas*
    from: 2026-12-20T00:00:00Z
    until: 2026-12-27T00:00:00Z
    comment: every year
oldest: 1h
source: engagement
link: "https://grafana.example/d/c?var-conversation={conversation}"
heartbeat:
  url: {env: BEAT_URL}
  every: 1m
  timeout: 10s
"""
LINES = BASE.splitlines()

NOT_TEXT = ("[]", "{}", "[a, b]", "{a: b}", "''", "", "~", "*gone", "!!python/name:os.system x", '"\\0"', '"\\ud800"')
"""Values that no field of one value takes."""

AMBIGUOUS = ("No", "12", "1.5", "1e3", "2026-01-01", "22:30", "0x1f", "true")
DURATIONS = ("10", "10 s", "-5s", "1.5h", "5w", "0s", "9999999s", "٣s", "'10s '", "1h30m", "999999d")
URLS = (
    "hooks.example/x",
    "ftp://h/",
    "http://",
    "http:///x",
    "http://h:0/",
    "http://h:70000/",
    "http://h:x/",
    "http://h:80:90/",
    "'http://a b/'",
    "'http://h/#x'",
    "http://a..b/",
    "http://-a-/",
    "http://1.2.3.400/",
    "'http://[::1/'",
    "'http://[::g]/'",
    "http://h\\e/",
    "'http://[fe80::1%25eth0]/'",
    "http://" + "a" * 64 + ".example/",
    "http://h/" + "a" * 2100,
    "http://ana:hunter2@h/",
    "mailto:a@b",
    "'http://\u200bh/'",
    "'http://[::1]x/'",
    "http://xn--bcher-kvaxn--bcher-kva1.example/ü",
    "http://xn--a-/",
    "http://ü" + "b" * 70 + ".example/",
)
FAULTS: dict[str, tuple[str, ...]] = {
    "    kind: slack": (*NOT_TEXT, "fax", "Slack", "12"),
    "      - http://127.0.0.1:9": (
        *NOT_TEXT,
        *URLS,
        "http://h?x=1",
        "http://h/api/v2/alerts",
        "http://h/api/v2/alerts/",
    ),
    "    hold: 15m": (*NOT_TEXT, *DURATIONS, "1m", "8d"),
    "    timeout: 5s": (*NOT_TEXT, *DURATIONS, "121s"),
    "    url: {env: CHAT_URL}": (
        "http://h/hunter2",
        "{env: GONE}",
        "{env: EMPTY}",
        "{env: 12}",
        "{file: /no/such}",
        "{file: /dev/zero}",
        "{file: /}",
        "{file: /dev/null}",
        "{clear: }",
        "{env: CHAT_URL, file: x}",
        "{path: x}",
        "{env: [a]}",
        "{env: NO_URL}",
        "{clear: hunter2}",
        "hunter2",
        "{env: hunter2}",
        "{file: hunter2}",
        "{file: 'https://h/hunter2'}",
        "{env: 'a=hunter2'}",
        "{file: ~hunter/x}",
    ),
    "    rate: 20/minute": (
        *NOT_TEXT,
        *AMBIGUOUS,
        "0/minute",
        "20",
        "20/day",
        "20 / minute",
        "-1/second",
        "1000000/second",
    ),
    "    url: http://127.0.0.1:9/hook": (*NOT_TEXT, *URLS),
    "    secret: {env: HOOK_SECRET}": (
        "hunter2",
        "{clear: whsec_}",
        "{clear: 'whsec_!!!!'}",
        "{clear: whsec_abcde}",
        "{clear: whsec_YWJj}",
        "{clear: ''}",
        "{clear: 'whsec_ MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3'}",
        "{clear: whsec_-_EyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3}",
        "{clear: ' whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3'}",
        "{clear: WHSEC_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3}",
        "{clear: whsk_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3}",
        "{clear: whsec_" + "QUFB" * 22 + "}",
        "{env: BLANK}",
        "{clear: 12}",
        "{clear: 'whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3==='}",
        "{hunter2}",
        "[hunter2]",
        "",
        "{env: GONE}",
    ),
    "      X-Team: social": (
        *AMBIGUOUS,
        "[]",
        "{}",
        "",
        "~",
        '"a\\r\\nX-Evil: 1"',
        '"a\\tb"',
        "größe",
        "' a'",
        "{env: SPLIT}",
        "{env: GONE}",
        "Bearer hunter2",
        "a" * 4097,
    ),
    "      Authorization: {env: TOKEN}": ("Bearer hunter2", "{clear: }", "{env: SPLIT}"),
    "  - match: brand:acme": (
        *NOT_TEXT[:-2],
        "acme",
        "'acme*'",
        "'#acme'",
        "'@acme'",
        "'hashtag:'",
        "'hashtag:#'",
        "'mention:@'",
        "Brands:acme",
        "tag:acme",
        "author:alice",
        "author:bluesky/",
        '"hashtag:\\u200b"',
        "' : '",
        "'?'",
        "12",
        "hashtag",
        "'*:'",
        "brand:" + "a" * 1100,
        '"brand:a\\nb"',
        "https://x.example",
        "'hash?tag:x'",
        "[brand:acme, nonsense]",
        "label:campaign",
        "label:campaign=spring",
        "'label:'",
    ),
    "    to: [pager, hook]": (
        *NOT_TEXT,
        "[pager, nobody]",
        "nobody",
        "[pager, 12]",
        "'pager, hook'",
        "PAGER",
        "[[pager]]",
    ),
    "    severity: critical": (*NOT_TEXT, *AMBIGUOUS, "' '", "a" * 101, '"a\\nb"'),
    "    min_severity: info": (*NOT_TEXT, *AMBIGUOUS, "page", "Info", "warning,critical"),
    "    continue: true": (*NOT_TEXT, "maybe", "1", "0", "2026-01-01"),
    "  - match: hashtag:christmas*": (*NOT_TEXT[:-2], "christmas*", "'#christmas'", "author:santa"),
    "    from: 2026-12-20T00:00:00Z": (
        *NOT_TEXT,
        "2026-12-20",
        "2026-12-20T00:00:00",
        "2026-13-20T00:00:00Z",
        "soon",
        "1766188800",
    ),
    "    until: 2026-12-27T00:00:00Z": (
        *NOT_TEXT,
        "2026-12-27",
        "'2026-12-27T00:00:00'",
        "2026-12-19T00:00:00Z",
        "2026-12-32T00:00:00Z",
        "27.12.2026",
        "2026-12-27T25:00:00Z",
        "12",
        "2026-12-20T00:00:00Z",
        "2026-12-20T01:00:00+01:00",
        "'0001-01-01T00:00:00+23:00'",
    ),
    "    comment: every year": (*NOT_TEXT, *AMBIGUOUS, "a" * 101),
    "oldest: 1h": (*NOT_TEXT, *DURATIONS, "1m", "366d", "forever"),
    "source: engagement": (*NOT_TEXT, "my team", "größe", "http://ana:hunter2@h/", "a" * 201, "'%zz'", "a<b"),
    'link: "https://grafana.example/d/c?var-conversation={conversation}"': (
        *NOT_TEXT,
        *URLS[:4],
        "'http://{conversation}/'",
        "'http://h/{key}'",
        "'http://h/{'",
        "http://ana:hunter2@h/",
        "'http://h/ x'",
    ),
    "  url: {env: BEAT_URL}": ("http://h/hunter2", "{env: GONE}", "{env: NO_URL}", "", "[]"),
    "  every: 1m": (*NOT_TEXT, *DURATIONS, "9s", "2d"),
    "  timeout: 10s": (*NOT_TEXT, *DURATIONS, "61s"),
}
"""A line of the file -> values that this field must not have."""

HEADERS = (
    "Content-Length",
    "Content_Length",
    "TRANSFER_ENCODING",
    "X_Team",
    "Date",
    "Digest",
    "content-length",
    "Transfer-Encoding",
    "Connection",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Upgrade",
    "Host",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Expect",
    "Content-Encoding",
    "Content-Type",
    "Content-MD5",
    "Webhook-Id",
    "Webhook-Timestamp",
    "webhook-signature",
    "Idempotency-Key",
    "'X Team'",
    "'X-Team:'",
    "'X-Té'",
    '"X\\r\\nY"',
    "''",
    "'X(Y)'",
    "x-team",
    "X-Api-Token",
    "Cookie",
    "a" * 65,
    "If-Match",
    "Range",
    "Accept-Encoding",
    "12 3",
)
"""Names of headers that are refused beside X-Team."""

EXTRA = (
    ("receivers:", "receivers:\n  other: {kind: webhook, url: http://h/}", 2, "receivers.other: no route leads to it"),
    ("  hook:", "  my hook:", 12, "receivers.my hook: must be a name"),
    ("  hook:", "  No:", 12, "receivers.No: a name must be text"),
    (
        "    kind: alertmanager",
        "    kind: alertmanager\n    retries: 3",
        4,
        "receivers.pager.retries: is not known here",
    ),
    ("      - http://127.0.0.1:9", "      - http://h\n      - http://h/", 6, "receivers.pager.urls.1: is there twice"),
    ("    to: chat", "    to: chat\n    team: x", 26, "routes.1.team: is not known here"),
    ("oldest: 1h", "oldest: 1h\nyoungest: 1h", 33, "youngest: is not known here"),
    (
        "    continue: true",
        "    continue: false\n  - {match: 'brand:AC?E', to: chat}\n  - {match: 'brand:acme', to: chat}",
        25,
        "routes.2.match: can never be reached",
    ),
    ("    continue: true", "  - {match: '*', to: chat}", 24, "routes.2.match: can never be reached"),
    ("    url: http://127.0.0.1:9/hook", "    url: {env: WITH_USER}", 16, "receivers.hook.headers: Authorization"),
    ("    rate: 20/minute", "    ca: /no/such.pem", 11, "receivers.chat.ca: /no/such.pem is not a file"),
    ("    rate: 20/minute", "    ca: [x]", 11, "receivers.chat.ca: "),
    ("receivers:", "receivers: &a\n  <<: *a", 1, "the anchor is part of itself"),
)
WHOLE = (
    ("", 1, "must have receivers and routes"),
    ("- a\n", 1, "must have receivers and routes"),
    ("just text\n", 1, "must have receivers and routes"),
    ("[" * 20_000, 1, "levels of lists"),
    ("{" * 20_000, 1, "levels of lists"),
    ("a: " + "[" * 20_000 + "]" * 20_000, 1, "levels of lists"),
    ("- " * 20_000, 1, "levels of lists"),
    ("a: 1\n\tb: 2\n", 2, "indent by spaces"),
    ("routes: [\n", 2, "is not YAML"),
    ("receivers: {}\nroutes: {}\n", 1, "receivers: must not be empty"),
    ("a: 'b\nc: d\n", 3, "is not YAML"),
    ("%YAML 9.1\n---\na: b\n", 1, "is not YAML"),
    ("a: b\n---\nc: d\n", 2, "keep one document a file"),
    (
        "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)),
        1,
        "values (aliases counted",
    ),
    (
        "a0: &a0 {x: y}\n" + "".join(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12)),
        1,
        "values (aliases counted",
    ),
    ('a: "\\UFFFFFFFF"\n', 1, "an escape is no character"),
    ("a: b\x07\n", 1, "the character U+0007"),
    ("? [a]\n: b\n", 1, "a name must be text"),
    ("<<: 1\n", 1, "<< merges mappings only"),
)


class Fault(NamedTuple):
    """A broken file, and what must be said of it."""

    text: str
    line: int
    said: str


def faults() -> list[Fault]:
    made = [Fault(*whole) for whole in WHOLE]
    for line, values in FAULTS.items():
        number = LINES.index(line)
        head = re.match(r"\s*(- )?(\w[\w-]*: )?", line)
        assert head is not None
        field = (head[2] or "urls: ")[:-2]
        for value in values:
            text = "\n".join([*LINES[:number], head[0] + value, *LINES[number + 1 :]]) + "\n"
            made.append(Fault(text, number + 1, "" if value.startswith("*") else field))
    number = LINES.index("      X-Team: social") + 1
    for name in HEADERS:
        text = "\n".join([*LINES[:number], f"      {name}: x", *LINES[number:]]) + "\n"
        made.append(Fault(text, number + 1, "receivers.hook.headers"))
    made += [Fault(BASE.replace(old + "\n", new + "\n", 1), line, said) for old, new, line, said in EXTRA]
    for number, line in enumerate(LINES):
        if re.match(r" *\w[\w-]*: ?", line):
            made.append(Fault("\n".join([*LINES[: number + 1], line, *LINES[number + 1 :]]) + "\n", 0, ""))
    return made


ALL_FAULTS = faults()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "alerts.yaml"


def check(path: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `engagement alerts check`."""
    code = 0
    try:
        main(["alerts", "check", str(path), *arguments])
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_file_that_is_broken_below_is_whole(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(BASE)
    assert check(path, capsys)[0] == 0
    assert len(ALL_FAULTS) > 400


@pytest.mark.parametrize("fault", ALL_FAULTS, ids=range(len(ALL_FAULTS)))
def test_a_broken_file_is_refused_with_line_field_and_cure(
    fault: Fault, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(fault.text, encoding="utf-8")
    code, out, err = check(path, capsys)
    assert (code, out) == (1, ""), fault.text
    assert err.startswith(f"engagement: {path}:{fault.line or ''}"), err
    if fault.line:
        assert err.startswith(f"engagement: {path}:{fault.line}: "), err
    assert fault.said in err
    assert err.count("\n") == 1
    assert "hunter2" not in err
    assert not re.search(r"Traceback|Value error|Input should|pattern", err)
    reason = err.rpartition(f":{fault.line}: ")[2] if fault.line else err
    assert re.search(
        r"must |leave |write |put |say |see |shows all|name |export |indent |quotes|look |shorten |keep |add |take out|"
        r"expand|merges|make one|there are",
        reason,
    ), err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (BASE.encode("utf-16"), "is not UTF-8 but UTF-16; save it as UTF-8"),
        (BASE.replace("every year", "jährlich").encode("latin-1"), ":31: is not UTF-8; save it as UTF-8"),
        (BASE.encode() + b"# " + b"x" * 2**20, "is larger than 1 MiB"),
        (BASE.encode() + b"\x00", ":39: is not YAML: the character U+0000"),
    ],
)
def test_bytes_that_are_no_text(content: bytes, said: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(content)
    code, _, err = check(path, capsys)
    assert code == 1
    assert err.startswith(f"engagement: {path}")
    assert said in err


# ---------------------------------------------------------------- working files

VARIANTS: tuple[tuple[str, str], ...] = (
    ("", ""),
    ("receivers:", "\ufeffreceivers:"),
    ("    timeout: 5s", "    timeout: '5s'"),
    ("    timeout: 5s", "    timeout: 2m"),
    ("    hold: 15m", "    hold: 7d"),
    ("    rate: 20/minute", "    rate: 1/second"),
    ("    secret: {env: HOOK_SECRET}", "    secret: {clear: whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3}"),
    ("    secret: {env: HOOK_SECRET}", "    secret: {clear: 0123456789abcdef01234567}"),
    ("      X-Team: social", "      X-Team: ''"),
    ("      X-Team: social", "      x_team.1: '12'\n      User-Agent: engagement (social)\n      X-Team: {env: TOKEN}"),
    ("  - match: brand:acme", "  - match: Brand:ACME"),
    ("  - match: brand:acme", "  - match: 'hashtag:#Acme'"),
    ("  - match: brand:acme", "  - match: ['mention:@x', 'author:bluesky/*', 'thread:?*', 'author:*']"),
    ("  - match: brand:acme", "  - match: 'hashtag:[a-z]'"),
    ("  - match: brand:acme", "  - match: '*acme*'"),
    ("    severity: critical", "    severity: 'No'"),
    ("    continue: true", "    continue: yes"),
    ("    continue: true", '    continue: "true"'),
    ("    continue: true", "    continue: false"),
    ("    until: 2026-12-27T00:00:00Z", '    until: "2026-12-27T00:00:00Z"'),
    ("    until: 2026-12-27T00:00:00Z", "    until: 2026-12-27 00:00:00+01:00"),
    ("    until: 2026-12-27T00:00:00Z", "    until: '9999-12-31T23:59:59Z'"),
    ("    comment: every year", "    comment: 'jährlich #1'"),
    ("silences:", "silences: # none\n"),
    ("oldest: 1h", "oldest: 365d"),
    ("source: engagement", "source: https://team.example/engagement?a=b"),
    ('link: "https://grafana.example/d/c?var-conversation={conversation}"', "link: http://h/#/{conversation}/x"),
    ("heartbeat:", "# heartbeat\nheartbeat:"),
    ("  - match: brand:acme", "  - &first\n    match: brand:acme"),
    ("    headers:", "    headers: &h\n"),
)


@pytest.mark.parametrize("variant", VARIANTS, ids=range(len(VARIANTS)))
def test_a_working_file_delivers(
    variant: tuple[str, str], path: Path, server: HttpServer, capsys: pytest.CaptureFixture[str]
) -> None:
    text = BASE.replace(*variant, 1) if variant[0] else BASE
    text = text.replace("http://127.0.0.1:9", server.url).replace("{env: CHAT_URL}", f"{{clear: '{server.url}/chat'}}")
    path.write_text(text, encoding="utf-8")
    for name in ("pager", "chat", "hook"):
        code, out, err = check(path, capsys, "--send-test", name)
        assert (code, err) == (0, ""), err
        assert "test opened: delivered" in out
    paths = [request.path for request in server.requests]
    assert paths == [*["/api/v2/alerts"] * 2, *["/chat"] * 2, *["/hook"] * 2]
    for request in server.requests:
        assert request.json
        assert int(request.headers["content-length"]) == len(request.body)
    hook = server.requests[-1]
    signed = f"{hook.headers['webhook-id']}.{hook.headers['webhook-timestamp']}.".encode() + hook.body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert hook.headers["webhook-signature"] == f"v1,{expected}"
    assert hook.headers["authorization"] == "Bearer hunter2"


def test_crlf_and_a_merge_key_deliver(path: Path, server: HttpServer, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(
        b"receivers:\r\n  a: &a\r\n    kind: webhook\r\n    url: " + server.url.encode() + b"/a\r\n"
        b"  b:\r\n    <<: *a\r\n    timeout: 3s\r\nroutes:\r\n  - {match: '*', to: [a, b]}\r\n"
    )
    assert check(path, capsys, "--send-test", "b")[0] == 0
    assert [request.path for request in server.requests] == ["/a", "/a"]
