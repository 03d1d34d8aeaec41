"""The reader of text files: encodings, line ends, gzip, long lines, CSV; truth is what was written."""

import csv
import gzip
import io
import os
import threading
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import click
import pytest

from pipeline.errors import Refused
from pipeline.files.documents import read_json
from pipeline.files.encodings import canonical_encoding, guess_encoding
from pipeline.files.flaws import Flaw
from pipeline.files.opening import check_inputs
from pipeline.files.tables import LOOKAHEAD_BYTES, read_table
from pipeline.files.text_file import LINE_BYTES, ReadPolicy, TextFile, bounded_lines

RUSSIAN = "Наталья Иванова, Сергей Петров, Дмитрий Медведев, Ольга Смирнова, Александр Пушкин, Екатерина Волкова"
JAPANESE = (
    "山田太郎、鈴木一郎さん、東京都のデータを分析する。これはテストです。佐藤花子、ソーシャルメディアの投稿と文章"
)
KOREAN = "김철수 이영희 이것은 테스트 파일입니다 소셜 미디어의 게시물과 댓글 박지성 서울의 날씨가 좋습니다 우리는 오늘"
CHINESE = "王小明 李娜 张伟 这是一个测试文件 社交媒体上的帖子和评论 刘洋 陈静 北京的天气很好 我们今天去公园 明天再来"
GREEK = "Γιώργος Παπαδόπουλος Μαρία Κωνσταντίνου Νίκος Αλεξίου Ελένη Δημητρίου"


def lines_of(path: Path, **policy: Any) -> list[tuple[int, bytes | Flaw]]:
    return list(TextFile(str(path), ReadPolicy(**policy)).filled_lines())


def texts_of(path: Path, **policy: Any) -> list[str]:
    return [line.decode() for _, line in lines_of(path, **policy) if isinstance(line, bytes)]


def flaws_of(path: Path, **policy: Any) -> list[tuple[int, str]]:
    return [(number, line.reason) for number, line in lines_of(path, **policy) if isinstance(line, Flaw)]


def rows_of(path: Path, *columns: str, **policy: Any) -> list[dict[str, str]]:
    return [row for _, row in read_table(str(path), columns, ReadPolicy(**policy)) if not isinstance(row, Flaw)]


def bad_rows_of(path: Path, *columns: str, **policy: Any) -> list[tuple[int, str]]:
    table = read_table(str(path), columns, ReadPolicy(**policy))
    return [(number, row.reason) for number, row in table if isinstance(row, Flaw)]


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("text", ["José", "Наталья", "山田太郎", "👍"])
def test_unicode_is_told_with_and_without_a_byte_order_mark(tmp_path: Path, encoding: str, end: str, text: str) -> None:
    events = [f'{{"actor_id":"{text}{number}"}}' for number in range(3)]
    path = tmp_path / "file"
    path.write_bytes("".join(event + end for event in events).encode(encoding))
    assert lines_of(path) == [(number, event.encode()) for number, event in enumerate(events, 1)]
    path.write_bytes(f"post_id,author_id{end}p,{text}{end}".encode(encoding))
    assert rows_of(path, "post_id") == [{"post_id": "p", "author_id": text}]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        *(
            (western, name)
            for western in ("latin-1", "cp1252")
            for name in ("José", "Müller", "Zoë Ångström", "ñandú", "Ölçüm")
        ),
        ("cp1252", "10 €"),
        ("cp1252", "“quoted” – dash…"),
        ("cp1251", RUSSIAN),
        ("koi8_r", RUSSIAN),
        ("cp1253", GREEK),
        ("cp932", JAPANESE),
        ("euc_jp", JAPANESE),
        ("gb18030", CHINESE),
        ("cp949", KOREAN),
    ],
)
def test_the_encoding_of_a_table_is_guessed_and_told(tmp_path: Path, encoding: str, text: str) -> None:
    path, notices = tmp_path / "posts.csv", list[str]()
    rows = [text] if len(text) < 20 else text.replace(",", "").split(" ")
    content = "post_id,author_id\n" + "".join(f"{number},{row}\n" for number, row in enumerate(rows))
    path.write_bytes(content.encode(encoding))
    assert [row["author_id"] for row in rows_of(path, "post_id", notify=notices.append)] == rows
    [notice] = notices
    assert notice.startswith(f"{path}: not UTF-8; read as ")
    assert "--encoding" in notice
    assert [row["author_id"] for row in rows_of(path, "post_id", encoding=encoding)] == rows


def test_a_table_in_utf8_stays_utf8_when_it_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    path.write_bytes("post_id,author_id\na,José\nb,M\xff\nc,Zoë\n".encode().replace(b"\xc3\xbf", b"\xff"))
    assert [row["author_id"] for row in rows_of(path, "post_id")] == ["José", "Zoë"]
    assert [number for number, _ in bad_rows_of(path, "post_id")] == [3]


def test_too_little_text_of_another_script_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    path.write_bytes("post_id,author_id\na,Иван\nb,ann\n".encode("cp1251"))
    assert rows_of(path, "post_id") == [{"post_id": "b", "author_id": "ann"}]
    [(number, reason)] = bad_rows_of(path, "post_id")
    assert (number, "--encoding" in reason) == (2, True)
    assert rows_of(path, "post_id", encoding="cp1251")[0]["author_id"] == "Иван"


@pytest.mark.parametrize("damage", [b"\xff", b"\xe9", b"Jos\xe9", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x91"])
def test_one_damaged_line_of_events_is_one_bad_line(tmp_path: Path, damage: bytes) -> None:
    for other in ("ascii", "José"):
        path = tmp_path / "e.ndjson"
        path.write_bytes(f'{{"a":"{other}"}}\n{{"a":"'.encode() + damage + f'"}}\n{{"b":"{other}"}}\n'.encode())
        assert texts_of(path) == [f'{{"a":"{other}"}}', f'{{"b":"{other}"}}']
        [(number, reason)] = flaws_of(path)
        assert number == 2
        assert reason.startswith(f"not UTF-8, byte 0x{damage.lstrip(b'Jos')[0]:02x} at ")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32-be"])
def test_a_damaged_character_of_another_encoding_is_one_bad_line(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "e.ndjson"
    lines = [f'{{"a":{number}}}\n'.encode(encoding) for number in range(100)]
    lone = {"utf-16-le": b"\x00\xd8", "utf-32-be": b"\x00\x11\x00\x00"}[encoding]
    path.write_bytes(b"".join([*lines[:50], lone, *lines[50:]]))
    assert texts_of(path) == [f'{{"a":{number}}}' for number in range(100) if number != 50]
    assert flaws_of(path) == [(51, f"not {encoding} from character 1 on; mend the line")]


def test_an_encoding_that_is_named_is_used_unless_a_mark_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    path.write_bytes('{"a":"José"}\n'.encode("latin-1"))
    assert texts_of(path, encoding="iso8859-1") == ['{"a":"José"}']
    path.write_bytes('{"a":"José"}\n'.encode("utf-8-sig"))
    assert texts_of(path, encoding="iso8859-1") == ['{"a":"José"}']


def test_a_file_in_utf8_of_which_another_encoding_is_said_is_told(tmp_path: Path) -> None:
    path, notices = tmp_path / "e.ndjson", list[str]()
    path.write_text('{"a":"José"}\n', "utf-8")
    assert texts_of(path, encoding="cp1252", notify=notices.append) == ['{"a":"JosÃ©"}']
    assert notices == [f"{path}: seems to be UTF-8, but is read as cp1252, as --encoding says"]
    path.write_text('{"a":"José"}\n', "cp1252")
    assert texts_of(path, encoding="cp1252", notify=notices.append) == ['{"a":"José"}']
    assert len(notices) == 1


@pytest.mark.parametrize(
    "name", ["klingon", "base64", "rot13", "idna", "utf-7", "unicode_escape", "", "\0", "undefined", "hex"]
)
def test_what_is_no_encoding_of_files_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"no encoding.*cp1252"):
        canonical_encoding(name)


def test_encodings_have_one_name() -> None:
    assert {canonical_encoding(name) for name in ("utf8", "UTF-8", "utf-8-sig", "u8")} == {"utf-8"}
    assert canonical_encoding("latin-1") == canonical_encoding("ISO-8859-1")


def test_a_guess_takes_bounded_time() -> None:
    began = time.process_time()
    for text in (
        b"\xe9" * (8 << 20),
        b"a\xe9," * (2 << 20),
        bytes(range(256)) * (32 << 10),
        b"a" * (8 << 20) + b"\xe9",
        b"a " * (4 << 20) + b"\xe9",
    ):
        guess_encoding(text)
    assert time.process_time() - began < 20


@pytest.mark.parametrize("first", [b"\xff\xfe\xfd", b"\xfe\xff", b"\xff\xfe\xff\xfe", b"\0a\0b", b"\0" * 7])
def test_damage_that_looks_like_a_mark_costs_one_line(tmp_path: Path, first: bytes) -> None:
    path = tmp_path / "e.ndjson"
    path.write_bytes(first + b"\n" + EVENTS[:2000])
    assert [line for _, line in lines_of(path)][1:] == EVENTS[:2000].split(b"\n")[: len(lines_of(path)) - 1]
    assert len(lines_of(path)) > 90


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_lines_appended_in_another_encoding_cost_no_line_before(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "e.ndjson"
    path.write_bytes(b'{"event_id": "a", "kind": "like", "post_id": "p"}\n' + ('{"b": 2}\n' * 50).encode(encoding))
    assert lines_of(path)[0] == (1, b'{"event_id": "a", "kind": "like", "post_id": "p"}')


def test_files_that_were_joined_have_marks_inside(tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    path.write_bytes(b'\xef\xbb\xbf{"a":1}\n\xef\xbb\xbf{"a":2}\n')
    assert texts_of(path) == ['{"a":1}', '{"a":2}']


def test_line_ends_of_all_kinds_count_alike(tmp_path: Path) -> None:
    path = tmp_path / "e"
    path.write_bytes(b"1\n2\r\n3\r4\n\r\n \r\n7\x0b\x0c\x1c\xc2\x85\xe2\x80\xa8\n8")
    assert [number for number, _ in lines_of(path)] == [1, 2, 3, 4, 7, 8]
    assert texts_of(path)[-2:] == ["7\x0b\x0c\x1c\x85\u2028", "8"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_do_not_depend_on_the_pieces_in_which_they_come(size: int) -> None:
    content = b"\xef\xbb\xbfone\r\n\r\ntwo\rthree\n" + b"x" * 50 + b"\n\r\rlast"
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    expected = io.TextIOWrapper(io.BytesIO(content), "utf-8", newline=None).read().split("\n")
    found = list(bounded_lines(iter(pieces), 30))
    assert [line.decode() if isinstance(line, bytes) else "x" * 50 for line in found] == expected
    assert isinstance(found[4], Flaw)


def test_a_line_above_the_limit_is_one_bad_line_and_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.ndjson.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(b'{"a":1}\n')
        for _ in range(100):
            stream.write(b"[" * (1 << 20))
        stream.write(b'\n{"a":2}\n')
    tracemalloc.start()
    found = lines_of(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [(number, line) for number, line in found if isinstance(line, bytes)] == [(1, b'{"a":1}'), (3, b'{"a":2}')]
    [(number, reason)] = [(number, line.reason) for number, line in found if isinstance(line, Flaw)]
    assert number == 2
    assert reason == "a line of 104,857,600 bytes, above the limit of 1,048,576; shorten or split the line"
    assert most < 8 << 20


def test_a_line_at_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "e"
    for size, is_read in ((LINE_BYTES, True), (LINE_BYTES + 1, False)):
        path.write_bytes(b"x" * size + b"\r\ny\r\n")
        (_, first), (_, second) = lines_of(path)
        assert (isinstance(first, bytes), second) == (is_read, b"y")


EVENTS = b"".join(b'{"event_id":"%d"}\n' % number for number in range(20_000))


def damaged(name: str) -> tuple[bytes, bytes, str, str]:
    """Returns a damaged gzip file, what of its content is before the damage at least, and what is told of the damage
    and of ignored bytes."""
    whole = gzip.compress(EVENTS, 6, mtime=0)
    half = len(whole) // 2
    known = zlib.decompressobj(31).decompress(whole[: half - 300])
    middle = whole[:half] + bytes(byte ^ 0xFF for byte in whole[half : half + 64]) + whole[half + 64 :]
    return {
        "whole": (whole, EVENTS, "", ""),
        "members": (whole + gzip.compress(EVENTS), EVENTS * 2, "", ""),
        "zeros between": (whole + bytes(700) + gzip.compress(EVENTS), EVENTS * 2, "", ""),
        "empty member": (whole + gzip.compress(b""), EVENTS, "", ""),
        "trailing zeros": (whole + bytes(100_000), EVENTS, "", "100,000 zeros behind"),
        "trailing CRLF": (whole + b"\r\n", EVENTS, "", "2 bytes behind"),
        "trailing text": (whole + b"{}\n" * 100_000, EVENTS, "", "300,000 bytes behind"),
        "cut": (whole[:-20], EVENTS[:-2000], "cut off", ""),
        "cut trailer": (whole[:-3], EVENTS, "cut off", ""),
        "cut to the header": (whole[:10], b"", "cut off", ""),
        "cut to the magic": (whole[:2], b"", "cut off", ""),
        "bad deflate data": (middle, known, "damaged gzip file: ", ""),
        "bad checksum": (whole[:-8] + b"\0\0\0\0" + whole[-4:], EVENTS, "incorrect data check", ""),
        "bad length": (whole[:-4] + b"\0\0\0\0", EVENTS, "incorrect length check", ""),
        "bad header": (b"\x1f\x8b" + b"\xff" * 100, b"", "unknown compression method", ""),
        "bad second member": (whole + b"\x1f\x8b" + b"\xff" * 100, EVENTS, "unknown compression method", ""),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "whole",
        "members",
        "zeros between",
        "empty member",
        "trailing zeros",
        "trailing CRLF",
        "trailing text",
        "cut",
        "cut trailer",
        "cut to the header",
        "cut to the magic",
        "bad deflate data",
        "bad checksum",
        "bad length",
        "bad header",
        "bad second member",
    ],
)
def test_gzip_is_read_as_gunzip_does_up_to_the_damage(tmp_path: Path, name: str) -> None:
    content, known, flaw, ignored = damaged(name)
    path, notices = tmp_path / "e.gz", list[str]()
    path.write_bytes(content)
    found = lines_of(path, notify=notices.append)
    expected = known.splitlines() if known.endswith(b"\n") else known.splitlines()[:-1]
    good = [line for _, line in found if isinstance(line, bytes)]
    assert good[: len(expected)] == expected
    if not flaw:
        assert found == list(enumerate(expected, 1))
    else:
        last, reason = found[-1]
        assert isinstance(reason, Flaw)
        assert flaw in reason.reason
        assert last == len(found)
        assert all(isinstance(line, bytes) for _, line in found[:-1])
    assert len(notices) == bool(ignored) + bool(flaw)
    assert all(notice.startswith(f"{path}: {ignored or 'damaged: what stands from line '}") for notice in notices)


def test_gzip_damaged_at_any_byte_never_ends_the_reader(tmp_path: Path) -> None:
    whole, path = gzip.compress(EVENTS[:3000], mtime=0), tmp_path / "e.gz"
    lines = EVENTS[:3000].splitlines()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        found = lines_of(path)
        if at >= 20:  # behind the header
            assert isinstance(found[-1][1], Flaw) or [line for _, line in found] == lines
        path.write_bytes(whole[:at])
        found = lines_of(path)
        good = [line for _, line in found if isinstance(line, bytes)]
        assert at < 2 or good == lines[: len(good)]
        assert at < 2 or isinstance(found[-1][1], Flaw)


@pytest.mark.parametrize("magic", [b"PK\x03\x04....", b"BZh91AY&SY", b"\xfd7zXZ\x00\x00", b"\x28\xb5\x2f\xfd...."])
def test_other_compression_is_told(tmp_path: Path, magic: bytes) -> None:
    (tmp_path / "e").write_bytes(magic)
    with pytest.raises(Refused, match=r"e: a file in the format .*; unpack it"):
        lines_of(tmp_path / "e")


@pytest.mark.parametrize(
    ("content", "form"),
    [(gzip.compress(b"a\n", mtime=0), "gzip"), (b"PK\x03\x04....", "zip"), (b"\x28\xb5\x2f\xfd....", "zstd")],
)
def test_a_file_that_is_packed_twice_is_told(tmp_path: Path, content: bytes, form: str) -> None:
    (tmp_path / "e").write_bytes(gzip.compress(content))
    with pytest.raises(Refused, match=rf"e: a file in the format {form}.* within gzip; unpack it"):
        lines_of(tmp_path / "e")


def test_nothing_is_read_from_what_is_empty(tmp_path: Path) -> None:
    for content in (b"", b"\n\n", b"\xef\xbb\xbf", b"\xff\xfe", b" \r\n\t", gzip.compress(b"")):
        (tmp_path / "e").write_bytes(content)
        assert lines_of(tmp_path / "e") == []
        with pytest.raises(Refused, match="e:1: no column post_id; the first line must name post_id, author_id"):
            rows_of(tmp_path / "e", "post_id", "author_id")


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(Refused, match=f"{reason}; name a readable file, or - for standard input"):
            check_inputs([path])
        with pytest.raises(Refused, match=reason):
            lines_of(path)
    with pytest.raises(click.UsageError, match="standard input can be read once"):
        check_inputs(["-", tmp_path, "-"])
    check_inputs(["-", __file__])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_what_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "e").write_bytes(b"")
    (tmp_path / "e").chmod(0)
    with pytest.raises(Refused, match="Permission denied"):
        check_inputs([tmp_path / "e"])


def test_a_read_that_fails_is_told() -> None:
    with pytest.raises(Refused, match="/proc/self/mem: Input/output error"):
        lines_of(Path("/proc/self/mem"))


@pytest.mark.parametrize("content", [EVENTS, gzip.compress(EVENTS, mtime=0)])
def test_a_fifo_is_read_once_as_its_lines_come(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    check_inputs([path])
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    assert [line for _, line in lines_of(path)] == EVENTS.splitlines()
    writer.join()


def test_a_line_of_a_pipe_is_read_before_the_next_one_comes(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    gone_on = threading.Event()

    def write() -> None:
        with path.open("wb", buffering=0) as stream:
            stream.write(b'{"a":1}\n')
            gone_on.wait(30)
            stream.write(b'{"a":2}\n')

    writer = threading.Thread(target=write)
    writer.start()
    lines = TextFile(str(path)).filled_lines()
    assert next(lines) == (1, b'{"a":1}')
    gone_on.set()
    assert list(lines) == [(2, b'{"a":2}')]
    writer.join()


def test_rows_are_those_of_csv(tmp_path: Path) -> None:
    rows = [
        ["p1", "a,b", 'say "x"', ""],
        ["p2", "two\nlines", "\n\n", " "],
        ["p3", "ü" * 100_000, "x", "y"],
        ['"', '""', ",", "'"],
        ["p5", "\0", "\t", ";"],
    ]
    path = tmp_path / "t.csv"
    for delimiter in ",;\t|":
        for end in ("\n", "\r\n"):
            with path.open("w", newline="", encoding="utf-8") as stream:
                csv.writer(stream, delimiter=delimiter, lineterminator=end).writerows([["id", "b", "c", "d"], *rows])
            assert [list(row.values()) for row in rows_of(path, "id", "c")] == rows
    numbers = [number for number, _ in read_table(str(path), ("id",))]
    assert numbers == [2, 3, 7, 8, 9], "of the first line of each row"


def test_rows_that_are_shorter_longer_or_blank(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\nb, id ,c\n1,2,3\n4,5\n\n,,\n6,7,8,,\n6,7,8,9\n")
    assert rows_of(path, "id") == [
        {"b": "1", "id": "2", "c": "3"},
        {"b": "4", "id": "5", "c": ""},
        {"b": "6", "id": "7", "c": "8"},
    ]
    assert bad_rows_of(path, "id") == [(8, "4 values for 3 columns; quote values that hold a separator")]


@pytest.mark.parametrize("head", ["ID,Author", " Id , AUTHOR", '"ID","author"'])
def test_columns_are_named_in_any_case(tmp_path: Path, head: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{head}\np,Ann\n")
    assert rows_of(path, "id", "author") == [{"id": "p", "author": "Ann"}]


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("# today\nid,author,ID\np,a,q\n")
    with pytest.raises(Refused, match=r"t\.csv:2: column id is there twice; rename or leave out one of them"):
        rows_of(path, "id")
    path.write_text("id,x,x\np,a,b\n")
    assert rows_of(path, "id") == [{"id": "p", "x": "b"}], "a column that nobody asks for"


@pytest.mark.parametrize("bad", ['"p,a', 'p,"a', '"p"x,a', 'p,"a"b', 'p,"""'])
def test_a_quote_that_is_never_closed_costs_one_row(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "t.csv"
    rows = [f"p{number},a{number}" for number in range(10)]
    path.write_text("\n".join(["id,author", *rows[:5], bad, *rows[5:]]))
    assert [row["id"] for row in rows_of(path, "id")] == [row.split(",")[0] for row in rows]
    [(number, reason)] = bad_rows_of(path, "id")
    assert (number, reason[:16]) == (7, "not a row of CSV")


def test_quotes_that_are_never_closed_take_bounded_time(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"id,author\n" + b'x","y\n' * 200_000)
    assert path.stat().st_size > 1 << 20 < LOOKAHEAD_BYTES
    began = time.process_time()
    found = list(read_table(str(path), ("id",)))
    assert time.process_time() - began < 60
    assert all(isinstance(row, Flaw) for _, row in found)
    assert len(found) == 200_000


def test_a_bad_line_before_the_head_costs_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"# exported today\nsep=,\n" + b"x" * (LINE_BYTES + 1) + b"\nid,author\np,a\n")
    assert rows_of(path, "id") == [{"id": "p", "author": "a"}]
    assert sorted(number for number, _ in bad_rows_of(path, "id")) == [1, 2, 3]
    path.write_bytes(b"x\n" * 1000 + b"id,author\np,a\n")
    with pytest.raises(Refused, match=r"t\.csv:1: no column id"):
        rows_of(path, "id")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 100_000, "recursion limit"),
        (b'{"a":"\\ud800"}', "hex escape"),
        (b"9" * 5000, "number out of range"),
        (b"nan", "expected"),
        (b'{"a":"\xe9"}', "not utf-8 at byte 6"),
        (b"", "EOF"),
    ],
)
def test_documents_that_are_no_json_are_told(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "d.json").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_json(tmp_path / "d.json")


def test_documents_come_in_unicode(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"):
        (tmp_path / "d.json").write_bytes('{"a": ["é", 0.1, 1e22]}'.encode(encoding))
        assert read_json(tmp_path / "d.json") == {"a": ["é", 0.1, 1e22]}
