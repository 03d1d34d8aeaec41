"""The part `clickhouse` of a stack: configuration, start, and readiness."""

import hashlib
import http.client
import os
import shutil
import site
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from pydantic import SecretStr

from deploy.clickhouse.reader_grants import reader_grants
from pipeline.embedded.ports import HOST
from pipeline.embedded.processes import ProcessIdentity, spawn
from pipeline.embedded.state import StackState, make_private_folder, write_private
from pipeline.errors import StackError

DATABASE: Final = "engagement"
CLICKHOUSE_STOP_SECONDS: Final = 20.0
"""How long the server may take to stop before it is killed."""

CONFIG: Final = """<clickhouse>
  <!-- Written anew at each start. -->
  <listen_host>{host}</listen_host>
  <tcp_port>{tcp}</tcp_port>
  <http_port>{http}</http_port>
  <users_config>{folder}/users.xml</users_config>
  <!-- Not the usual key, but the one that this library obeys. -->
  <log-level>warning</log-level>
  <logger><log>{log}</log><size>16M</size><count>1</count></logger>
  <timezone>UTC</timezone>
  <max_server_memory_usage_to_ram_ratio>0.5</max_server_memory_usage_to_ram_ratio>
  <mark_cache_size>268435456</mark_cache_size>
  <!-- As a server has them: with the two and one of the library timers starve, and mutations never run. -->
  <background_pool_size>16</background_pool_size>
  <background_schedule_pool_size>16</background_schedule_pool_size>
  <background_common_pool_size>4</background_common_pool_size>
  <!-- Files of parts that are no more leave within seconds, not minutes: a test waits for that. -->
  <merge_tree><cleanup_delay_period>1</cleanup_delay_period><max_cleanup_delay_period>5</max_cleanup_delay_period></merge_tree>
  <send_crash_reports><enabled>false</enabled></send_crash_reports>
  <!-- Where BACKUP and RESTORE may write and read; for containers: deploy/compose/clickhouse/backups.xml. -->
  <storage_configuration>
    <disks><backups><type>local</type><path>{folder}/backups/</path></backups></disks>
  </storage_configuration>
  <backups><allowed_disk>backups</allowed_disk></backups>
</clickhouse>
"""

USER: Final = "engagement"
"""The user of workers and commands."""

READER: Final = "reader"
"""The user of dashboards, who reads only."""

ACCESS_PROFILES: Final = """\
  <profiles>
    <default/>
    <!-- The bounds of a reader as deploy/clickhouse/users.sql has them. -->
    <readonly>
      <readonly>2</readonly>
      <max_execution_time>60</max_execution_time>
      <max_memory_usage>4000000000</max_memory_usage>
      <max_rows_to_read>10000000000</max_rows_to_read>
      <max_untracked_memory>4194304</max_untracked_memory>
      <distributed_product_mode>global</distributed_product_mode>
      <timeout_overflow_mode>throw</timeout_overflow_mode>
      <read_overflow_mode>throw</read_overflow_mode>
      <constraints>
        <max_execution_time><min>1</min><max>70</max></max_execution_time>
        <max_memory_usage><min>1</min><max>4000000000</max></max_memory_usage>
        <max_rows_to_read><min>1</min><max>10000000000</max></max_rows_to_read>
        <max_untracked_memory><max>4194304</max></max_untracked_memory>
        <distributed_product_mode><readonly/></distributed_product_mode>
        <timeout_overflow_mode><readonly/></timeout_overflow_mode>
        <read_overflow_mode><readonly/></read_overflow_mode>
      </constraints>
    </readonly>
    <library>
      <max_sessions_for_user>1</max_sessions_for_user>
      <constraints><max_sessions_for_user><const/></max_sessions_for_user></constraints>
    </library>
  </profiles>
"""

USERS: Final = """<clickhouse>
  <!-- Written anew at each start; add users by files in users.d. -->
{profiles}  <quotas><default/></quotas>
  <users>
    <!-- The library inside the process logs in by `default`, without a password; no setting changes that. Its session
         is the only one that `default` may have, and lasts as long as the server: every other login is refused. -->
    <default>
      <password/>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>library</profile>
      <quota>default</quota>
    </default>
    <{user}>
      <password_sha256_hex>{password}</password_sha256_hex>
      <networks><ip>127.0.0.1</ip><ip>::1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
    </{user}>
    <{reader}>
      <password_sha256_hex>{reader_password}</password_sha256_hex>
      <networks><ip>127.0.0.1</ip><ip>::1</ip></networks>
      <profile>readonly</profile>
      <quota>default</quota>
      <!-- Without grants of its own a user may read each file of this machine by file(), and addresses by url(). -->
      <grants>
{grants}
      </grants>
    </{reader}>
  </users>
</clickhouse>
"""


def start_clickhouse(directory: Path, state: StackState, log: Path, users: str | None = None) -> ProcessIdentity:
    """Writes the configuration and starts the server, without waiting. Raises StackError without the wheel.

    `users`: the text of users.xml, in which `default` has no password; None for the users of a stack.
    """
    if find_spec("chdb") is None:
        raise StackError("chdb-core is not installed: pip install 'engagement-pipeline[embedded]'")
    folder = directory / "clickhouse"
    temporary = folder / "tmp"
    # Temporary files of a killed server are of no use to the next one.
    shutil.rmtree(temporary, ignore_errors=True)
    make_private_folder(folder)
    make_private_folder(temporary)
    config = CONFIG.format(
        host=HOST,
        tcp=state.clickhouse_tcp,
        http=state.clickhouse_http,
        folder=escape(str(folder)),
        log=escape(str(log)),
    )
    write_private(folder / "config.xml", config)
    _write_users(folder / "users.xml", _users_of(state) if users is None else users)
    environment = {
        **os.environ,
        # The user's own ClickHouse configuration must not be read, and no file be left outside the folder.
        "HOME": str(folder),
        "TMPDIR": str(temporary),
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    server = Path(__file__).with_name("clickhouse_server.py")
    return spawn(
        [sys.executable, "-P", server, folder / "data"],
        log=log,
        cwd=folder,
        environment=environment,
    )


def clickhouse_serves(state: StackState, *, seconds: float = 2) -> bool:
    """Tells whether the server answers, and creates a missing database. Blocks for `seconds` at most."""
    connection = http.client.HTTPConnection(HOST, state.clickhouse_http, timeout=seconds)
    try:
        credentials = {"X-ClickHouse-User": USER, "X-ClickHouse-Key": state.password.get_secret_value()}
        connection.request("POST", "/", body=f"CREATE DATABASE IF NOT EXISTS {DATABASE}", headers=credentials)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _users_of(state: StackState) -> str:
    """Returns the users file of a stack, with hashes of the passwords."""
    return USERS.format(
        profiles=ACCESS_PROFILES,
        user=USER,
        password=_hash(state.password),
        reader=READER,
        grants="\n".join(f"        <query>{grant}</query>" for grant in reader_grants(DATABASE)),
        reader_password=_hash(state.reader_password),
    )


def _write_users(file: Path, users: str) -> None:
    """Writes the users file. A file that somebody has changed is kept as users.xml.old."""
    if file.exists() and file.read_text(errors="replace") != users:
        file.replace(file.with_name(f"{file.name}.old"))
    write_private(file, users)


def _hash(password: SecretStr) -> str:
    return hashlib.sha256(password.get_secret_value().encode()).hexdigest()
