"""What deploy/ promises, checked without containers: it parses, is pinned, is bound to loopback, holds no secret, and
names only settings that exist. Whether the images run is not tried here."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from deploy.clickhouse.views import all_views
from pipeline.cli import all_commands, load_attribute
from pipeline.observability.metrics import WorkerMetrics
from pipeline.settings import Settings
from processors.alerts.config import known_conversations, load_alerts
from producers.sources import SOURCES

DEPLOY = Path(__file__).parent.parent / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


# ---------------------------------------------------------------- compose


def test_images_are_pinned() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert len(images) >= 9
    for image in images:
        tag = image.rpartition(":")[2]
        assert re.search(r"\d+\.\d+", tag), f"{image} must name a version"


def test_compose_runs_the_version_that_is_packaged() -> None:
    version = re.search(r'^version = "(.+)"', (DEPLOY.parent / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    ours = {service["image"] for service in SERVICES.values() if "build" in service}
    assert ours == {f"engagement-pipeline:{version[1]}"}


def test_published_ports_are_bound_to_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 8
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports), ports
    assert not any("network_mode" in service or service.get("privileged") for service in SERVICES.values())


def test_whoever_serves_says_whether_it_is_well() -> None:
    for name, service in SERVICES.items():
        is_silent = service.get("healthcheck") == {"disable": True}
        assert "healthcheck" in service
        assert is_silent == (name in ("init", "simulation", "mastodon")), name
        for other, wait in service.get("depends_on", {}).items():
            assert other in SERVICES
            assert wait["condition"] in ("service_healthy", "service_completed_successfully")


def test_mounted_files_exist() -> None:
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    # ${NAME:-default}: the default is what is mounted where nobody says otherwise.
    sources = [re.sub(r"^\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")[0] for volume in volumes]
    paths = [path for path in sources if path.startswith(".")]
    assert len(paths) == 12
    assert all((DEPLOY / "compose" / path).exists() for path in paths), paths
    assert {name for name in sources if not name.startswith(".")} == set(COMPOSE["volumes"])


def test_everything_comes_back_and_stays_within_bounds() -> None:
    for name, service in SERVICES.items():
        assert service["restart"] == ("on-failure:5" if name == "init" else "unless-stopped"), name
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"]), name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, "a log must not fill the disk"


def test_compose_is_what_the_specification_allows(tmp_path: Path) -> None:
    """Checked by the schema of compose-spec, as check-jsonschema ships it; docker is not asked."""
    checker = Path(sys.executable).with_name("check-jsonschema")
    command = [checker, "--builtin-schema", "vendor.compose-spec"]
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(yaml.safe_dump(COMPOSE | {"services": {"a": {"image": "b:1", "healthchek": {}}}}))
    for file, code in ((DEPLOY / "compose/compose.yaml", 0), (wrong, 1)):
        done = subprocess.run([*command, file], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stdout + done.stderr


def test_spikes_and_faults_reach_alertmanager() -> None:
    """The mounted alerts file is one that `engagement alerts check` takes, and tells the Alertmanager of these
    containers; brands of its routes are tracked."""
    volumes = [re.sub(r"^\$\{\w+:-([^}]*)\}", r"\1", volume) for volume in SERVICES["worker"]["volumes"]]
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in volumes}
    environment = SERVICES["worker"]["environment"]
    brands, alerts = (DEPLOY / "compose" / mounted[environment[f"ENGAGEMENT_{name}"]] for name in ("BRANDS", "ALERTS"))
    config = load_alerts(alerts, {}, known_conversations(Settings(brands=brands)))
    [pager] = config.receivers.values()
    assert [address.get_secret_value() for address in pager.addresses] == ["http://alertmanager:9093/api/v2/alerts"]
    assert "alertmanager" in SERVICES
    assert {name for route in config.routes for name in route.to} == config.receivers.keys()


def test_secrets_come_from_outside() -> None:
    words = re.compile(r"password|secret|token", re.IGNORECASE)
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if words.search(variable) or ("://" in str(value) and "@" in str(value)):
                assert "${" in value, f"{name}: {variable}"
    needed = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose/compose.yaml").read_text()))
    example = (DEPLOY / "compose/.env.example").read_text()
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == needed, (
        "each is named in the example, without a value"
    )
    assert ".env" in (DEPLOY / "compose/.gitignore").read_text().split()
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/engagement.yaml").read_text())
    assert [s["secureJsonData"] for s in source["datasources"] if "secureJsonData" in s] == [
        {"password": "${READER_PASSWORD}"}
    ]


def test_the_reader_may_only_read() -> None:
    users = ElementTree.parse(DEPLOY / "compose/clickhouse/reader.xml").getroot()
    password = users.find("users/reader/password")
    assert password is not None
    assert (password.get("from_env"), password.text) == ("READER_PASSWORD", None)
    views = sorted(view.name for view in all_views())
    granted = [f"GRANT SELECT ON engagement.{name}" for name in views]
    assert [grant.text for grant in users.iterfind("users/reader/grants/query")] == granted
    sql = re.findall(r"^(GRANT .*) TO engagement_reader;", (DEPLOY / "clickhouse/users.sql").read_text(), re.MULTILINE)
    assert sql == granted, "run python -m deploy.clickhouse.reader_grants"
    assert users.findtext("profiles/reader/readonly") == "2"


def test_settings_and_commands_are_known() -> None:
    fields = {f"ENGAGEMENT_{name.upper()}" for name in Settings.model_fields}
    manifests = [DEPLOY / "compose/compose.yaml", DEPLOY / "Dockerfile"]
    named = {name for path in manifests for name in re.findall(r"\bENGAGEMENT_[A-Z_]+", path.read_text())}
    assert len(named) >= 6
    assert named <= fields
    commands = [service["command"][0] for service in SERVICES.values() if "build" in service]
    assert (
        set(commands)
        == {"init", "work", "simulate", "bluesky", "mastodon", "collect", "serve"}
        <= all_commands().keys()
    )


def test_what_a_source_remembers_is_on_a_volume_that_its_user_owns() -> None:
    service = SERVICES["bluesky"]
    [volume] = service["volumes"]
    folder = volume.partition(":")[2]
    state = Path(service["command"][service["command"].index("--state") + 1])
    assert state.is_relative_to(folder)
    assert f"install -d -o engagement -g engagement {folder}\n" in (DEPLOY / "Dockerfile").read_text()
    options = {option for each in load_attribute(SOURCES["bluesky"][0]).params for option in each.opts}
    assert {word for word in service["command"] if word.startswith("--")} <= options


def test_the_image_has_the_kernels_on_its_disk() -> None:
    """Compiled at the end of the build, as root, where the worker's user reads them; no tmpfs lies over them."""
    image = (DEPLOY / "Dockerfile").read_text()
    [folder] = re.findall(r"NUMBA_CACHE_DIR=(\S+)", image)
    last_stage = image.split("\nFROM ")[-1]
    steps = re.findall(r"^(COPY|RUN|USER|ENV)\b(.*(?:\\\n.*)*)", last_stage, re.MULTILINE)
    compiles = next(n for n, (step, said) in enumerate(steps) if step == "RUN" and "processors.compile_kernels" in said)
    assert [step for step, _ in steps].index("COPY") < compiles < [step for step, _ in steps].index("USER")
    mounts = [path for service in SERVICES.values() for path in service.get("tmpfs", [])]
    assert "/tmp" in mounts
    assert not any(Path(folder).is_relative_to(mount) for mount in mounts)


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (make tools); the Dockerfile was read by our own tests alone")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


# ---------------------------------------------------------------- Prometheus


def test_the_scraped_port_is_the_default_one() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    job, sources, collector = config["scrape_configs"]
    assert (job["job_name"], sources["job_name"]) == ("engagement", "engagement-sources")
    for name in sources["dns_sd_configs"][0]["names"]:
        port = SERVICES[name]["environment"]["ENGAGEMENT_SOURCE_METRICS_PORT"]
        assert str(sources["dns_sd_configs"][0]["port"]) == port
    assert f"127.0.0.1:8080:{collector['dns_sd_configs'][0]['port']}" in SERVICES["collector"]["ports"]
    assert job["dns_sd_configs"][0]["port"] == Settings.model_fields["metrics_port"].default
    assert job["dns_sd_configs"][0]["names"] == [name for name in SERVICES if name == "worker"]


def test_promtool_likes_our_metrics() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip(
            "promtool is not installed (Debian: apt-get install prometheus); names were checked by our own test alone"
        )
    metrics = WorkerMetrics()
    metrics.count_dead_letters("schema")
    metrics.set_lag({("engagement.likes", 0): 1})
    body, _ = metrics.render()
    done = subprocess.run([promtool, "check", "metrics"], input=body, capture_output=True, timeout=60, check=False)
    # A count of minutes that are open, not a time in minutes.
    counted = b'engagement_conversation_minutes_open use base unit "seconds" instead of "minutes"'
    assert [line for line in (done.stdout + done.stderr).splitlines() if line and line != counted] == []
