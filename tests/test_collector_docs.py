"""The examples of docs/collector.md, run against a real collector; what the page lists is what there is."""

import os
import re
import subprocess
import sys
from pathlib import Path

from pipeline.settings import Settings
from producers.collector.inlets import make_inlets
from producers.collector.metrics import CollectorMetrics
from tests.collector_process import CollectorProcess
from tests.end_to_end.checks import engagement, environment_of

PAGE = (Path(__file__).parent.parent / "docs/collector.md").read_text()
EXAMPLE = re.compile(r"```sh\n(.*?)```(?:\n```json\n(.*?)```)?", re.DOTALL)


def test_the_examples(settings: Settings, tmp_path: Path) -> None:
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    tools = tmp_path / "bin"
    tools.mkdir()
    script = tools / "engagement"
    script.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c 'from pipeline.cli import main; main()' \"$@\"\n")
    script.chmod(0o755)
    examples = EXAMPLE.findall(PAGE)
    assert len(examples) >= 7
    with CollectorProcess(tmp_path, environment) as collector:
        collector.wait_until_ready()
        for command, wanted in examples:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command.replace("127.0.0.1:8080", f"127.0.0.1:{collector.port}")],
                capture_output=True,
                text=True,
                timeout=60,
                cwd=tmp_path,
                env={**environment, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(Path.cwd())},
                check=False,
            )
            assert done.returncode == 0, done.stderr
            if wanted:
                assert done.stdout.strip() == wanted.strip(), command
        assert collector.end() == 0


def test_every_endpoint_and_metric_is_listed() -> None:
    for inlet in make_inlets(Settings()):
        assert f"`POST {inlet.place}`" in PAGE or f"`{inlet.place}`" in PAGE, inlet.place
    metrics = CollectorMetrics()
    metrics.count_request("/x", 202, "s", 0.1)
    metrics.count_items("s", 1, 1, 1)
    ours = {re.sub(r"_(bucket|count|sum)$", "", series.partition("{")[0]) for series in metrics.snapshot()}
    for name in {name for name in ours if "_collector_" in name}:
        assert name in PAGE, name
    assert set(re.findall(r"engagement_collector_\w+", PAGE)) <= ours
