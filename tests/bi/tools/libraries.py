"""What SQLAlchemy's dialects, clickhouse-connect and pandas say; run in an environment of its own by `tests.bi`."""

import json
import sys
import warnings
from typing import Any

import clickhouse_connect
import sqlalchemy

warnings.simplefilter("ignore")
ASKED = json.load(sys.stdin)
LOGIN = f"{ASKED['user']}:{ASKED['password']}@{ASKED['host']}"


def say(tool: str, question: str, answer: Any) -> None:
    """Prints one answer for comparison."""
    print(json.dumps({"tool": tool, "question": question, "answer": answer}), flush=True)


def plain(rows: Any) -> list[list[Any]]:
    """Returns rows as JSON has them; numpy's and the drivers' numbers are numbers."""
    return [[str(value) if isinstance(value, str) else int(value) for value in row] for row in rows]


def ask_sqlalchemy() -> None:
    """Asks through each dialect, by its explicit name."""
    dialects = {
        "clickhousedb": ASKED["http_port"],
        "clickhouse+native": ASKED["tcp_port"],
        "clickhouse+http": ASKED["http_port"],
    }
    for dialect, port in dialects.items():
        engine = sqlalchemy.create_engine(f"{dialect}://{LOGIN}:{port}/{ASKED['database']}")
        with engine.connect() as connection:
            for question, sql in ASKED["questions"].items():
                say(dialect, question, plain(connection.execute(sqlalchemy.text(sql))))
        inspector = sqlalchemy.inspect(engine)
        listed = {*inspector.get_table_names(), *inspector.get_view_names()}
        say(dialect, "views", [[name] for name in sorted(listed)])
        posts = sqlalchemy.Table("post_metrics_v", sqlalchemy.MetaData(), autoload_with=engine)
        counts = sqlalchemy.select(
            sqlalchemy.func.count(),
            sqlalchemy.func.sum(posts.c.likes),
            sqlalchemy.func.sum(posts.c.comments),
        )
        with engine.connect() as connection:
            say(f"{dialect}, reflected", "posts, likes, comments", plain(connection.execute(counts)))


def ask_clickhouse_connect() -> None:
    """Asks for rows, and for frames of pandas."""
    client = clickhouse_connect.get_client(
        host=ASKED["host"],
        port=ASKED["http_port"],
        username=ASKED["user"],
        password=ASKED["password"],
        database=ASKED["database"],
    )
    for question, sql in ASKED["questions"].items():
        say("clickhouse-connect", question, plain(client.query(sql).result_rows))
        say("pandas", question, plain(client.query_df(sql).itertuples(index=False)))
    frame = client.query_df("SELECT post_id, likes, comments FROM post_metrics_v")
    sums = [[len(frame), frame["likes"].sum(), frame["comments"].sum()]]
    say("pandas, summed by pandas", "posts, likes, comments", plain(sums))


ask_sqlalchemy()
ask_clickhouse_connect()
