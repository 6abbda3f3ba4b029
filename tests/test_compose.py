"""The stack to try things out with: compose file, provisioning of Grafana, Tempo's file, the read-only user."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from grafana.source.panels import CLICKHOUSE_PLUGIN
from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations.schema import Place, create_table
from tests.grafana_kit import BOARDS

if TYPE_CHECKING:
    from tests.servers.client import ClickHouse

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ROOT / "docker-compose.yml"
PASSWORDS = {"CLICKHOUSE_PASSWORD": "c", "GRAFANA_PASSWORD": "g"}
# These images have nothing in them that a check could run.
WITHOUT_SHELL = {"otel-collector", "tempo"}


def _load(path: Path | str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


STACK = _load(COMPOSE)
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
SOURCES = {source["uid"]: source for source in _load("grafana/provisioning/datasources/observer.yaml")["datasources"]}
NAMES = sorted(SERVICES)


def _compose() -> list[str]:
    """Return the command of compose, as plugin of docker or alone."""
    docker = shutil.which("docker")
    if docker and not subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        return [docker, "compose"]
    alone = shutil.which("docker-compose")
    return [alone] if alone else pytest.skip("needs docker compose; the structure is checked without it")


def _config(passwords: dict[str, str]) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in PASSWORDS}
    command = [*_compose(), "--file", str(COMPOSE), "config"]
    return subprocess.run(command, env={**env, **passwords}, cwd=ROOT, capture_output=True, text=True, check=False)


def test_compose_takes_the_file() -> None:
    done = _config(PASSWORDS)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == set(SERVICES)


@pytest.mark.parametrize("missing", PASSWORDS)
def test_nothing_starts_without_a_password(missing: str) -> None:
    done = _config({name: value for name, value in PASSWORDS.items() if name != missing})
    assert done.returncode != 0
    assert missing in done.stderr


def test_the_four_parts_are_there() -> None:
    assert sorted(SERVICES) == ["clickhouse", "grafana", "otel-collector", "tempo"]


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_pinned_to_a_version(name: str) -> None:
    assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+(\.\d+)?", SERVICES[name]["image"])


@pytest.mark.parametrize("name", NAMES)
def test_ports_are_on_loopback_only(name: str) -> None:
    assert SERVICES[name]["ports"]
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in SERVICES[name]["ports"])


@pytest.mark.parametrize("name", NAMES)
def test_passwords_come_from_the_environment_and_have_no_default(name: str) -> None:
    variables = SERVICES[name].get("environment", {})
    for variable, value in variables.items():
        if "PASSWORD" in variable:
            assert re.fullmatch(r"\$\{(CLICKHOUSE|GRAFANA)_PASSWORD:\?[^}]+\}", value), variable


@pytest.mark.parametrize("name", NAMES)
def test_data_is_in_a_named_volume_and_mounted_files_exist(name: str) -> None:
    mounts = [volume.split(":") for volume in SERVICES[name]["volumes"]]
    named = [source for source, *_ in mounts if not source.startswith(".")]
    assert named
    assert set(named) <= set(STACK["volumes"])
    for source, _, *mode in (mount for mount in mounts if mount[0].startswith(".")):
        assert (ROOT / source).exists(), source
        assert mode == ["ro"], source


@pytest.mark.parametrize("name", NAMES)
def test_a_service_checks_itself_where_its_image_can(name: str) -> None:
    assert ("healthcheck" in SERVICES[name]) == (name not in WITHOUT_SHELL)


@pytest.mark.parametrize("name", NAMES)
def test_a_service_waits_for_what_it_needs(name: str) -> None:
    for other, waiting in SERVICES[name].get("depends_on", {}).items():
        wanted = "service_started" if other in WITHOUT_SHELL else "service_healthy"
        assert waiting == {"condition": wanted}


def test_the_schema_is_applied_when_clickhouse_starts_on_an_empty_volume() -> None:
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in SERVICES["clickhouse"]["volumes"]}
    scripts = ROOT / mounted["/docker-entrypoint-initdb.d"]
    assert "CREATE MATERIALIZED VIEW" in "".join(path.read_text() for path in scripts.glob("*.sql"))


def test_the_server_that_applies_the_schema_is_not_taken_for_a_healthy_one() -> None:
    """It listens on loopback alone, so the check asks another address."""
    check = SERVICES["clickhouse"]["healthcheck"]["test"][1]
    assert "127.0.0.1" not in check
    assert "localhost" not in check


def test_the_collector_finds_its_file_queue_and_targets() -> None:
    collector = SERVICES["otel-collector"]
    config = (ROOT / "otel-collector/config.yaml").read_text()
    defaults = dict(re.findall(r"\$\{env:(\w+):-([^}]*)\}", config))
    assert defaults["OTELCOL_QUEUE_DIRECTORY"].startswith("/var/lib/otelcol/")
    assert "otel-collector:/var/lib/otelcol" in collector["volumes"]
    assert re.match(r"tcp://clickhouse:9000", defaults["CLICKHOUSE_ENDPOINT"])
    assert defaults["TEMPO_ENDPOINT"] == "tempo:4317"
    assert collector["command"] == ["--config=/etc/otelcol/config.yaml"]


def test_tempo_keeps_whole_traces_and_texts_on_its_volume() -> None:
    tempo = _load("tempo/tempo.yaml")
    storage = tempo["storage"]["trace"]
    paths = [storage["wal"]["path"], storage["local"]["path"], tempo["live_store"]["wal"]["path"]]
    assert all(path.startswith("/var/tempo/") for path in paths)
    assert "tempo:/var/tempo" in SERVICES["tempo"]["volumes"]
    assert tempo["overrides"]["defaults"]["global"]["max_bytes_per_trace"] > 5_000_000
    # the text of a stack trace
    assert tempo["distributor"]["max_attribute_bytes"] > 256 * 1024
    assert tempo["server"]["http_listen_port"] == 3200
    assert tempo["distributor"]["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] == "0.0.0.0:4317"


def test_grafana_gets_the_plugin_that_the_dashboards_are_made_for() -> None:
    plugin = SERVICES["grafana"]["environment"]["GF_PLUGINS_PREINSTALL_SYNC"]
    assert plugin == f"grafana-clickhouse-datasource@{CLICKHOUSE_PLUGIN}"
    major = int(SERVICES["grafana"]["image"].partition(":")[2].partition(".")[0])
    assert major >= 12, "correlations of spans are new in 12"


def test_grafana_reads_the_files_that_are_mounted() -> None:
    (provider,) = _load("grafana/provisioning/dashboards/observer.yaml")["providers"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]
    for kind in ("dashboards", "datasources"):
        assert f"./grafana/provisioning/{kind}:/etc/grafana/provisioning/{kind}:ro" in SERVICES["grafana"]["volumes"]


def test_variables_of_provisioning_are_given_by_compose() -> None:
    text = (ROOT / "grafana/provisioning/datasources/observer.yaml").read_text()
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    assert set(re.findall(r"(?<!\$)\$\{(\w+)\}", lines)) <= set(SERVICES["grafana"]["environment"])


def test_panels_and_variables_use_data_sources_that_are_provisioned() -> None:
    used = [
        part["datasource"]
        for board in BOARDS.values()
        for panel in board["panels"]
        for part in (panel, *panel["targets"], *(v for v in board["templating"]["list"] if "datasource" in v))
    ]
    assert used
    assert all(SOURCES[source["uid"]]["type"] == source["type"] for source in used)


def test_grafana_reads_with_a_user_that_can_only_read() -> None:
    user = ET.parse(ROOT / "grafana/clickhouse/grafana-user.xml").getroot()
    name = SERVICES["grafana"]["environment"]["CLICKHOUSE_USER"]
    assert user.findtext(f"users/{name}/profile") == name
    assert user.findtext(f"profiles/{name}/readonly") == "1"
    assert user.find(f"profiles/{name}/constraints/max_execution_time/changeable_in_readonly") is not None
    password = user.find(f"users/{name}/password")
    assert password is not None
    assert password.attrib["from_env"] in SERVICES["clickhouse"]["environment"]
    assert [grant.text for grant in user.findall(f"users/{name}/grants/query")] == ["GRANT SELECT ON default.*"]


def test_both_sources_lead_to_each_other() -> None:
    pairs = {(uid, c["targetUID"]) for uid, source in SOURCES.items() for c in source["correlations"]}
    assert pairs == {("observer-clickhouse", "observer-tempo"), ("observer-tempo", "observer-clickhouse")}


def test_a_row_leads_to_its_trace() -> None:
    (correlation,) = SOURCES["observer-clickhouse"]["correlations"]
    field = correlation["config"]["field"]
    assert field in TABLES["results"].column_names
    assert correlation["config"]["target"] == {"queryType": "traceql", "query": f"$${{{field}}}"}


@pytest.mark.parametrize("child", [False, True])
def test_a_span_leads_to_the_history_of_its_test(clickhouse_server: ClickHouse, database: str, child: bool) -> None:
    clickhouse_server.execute(create_table(TABLES["results"], Place(database, "pytest_results")))
    rows = "('r1', 'a.py::t', 's', 'a1'), ('r2', 'a.py::t', 's', 'a2'), ('r2', 'a.py::t', 'other', 'a3')"
    insert = f"INSERT INTO pytest_results (run_id, nodeid, service, span_id) VALUES {rows}"
    clickhouse_server.execute(insert, database=database)
    (correlation,) = SOURCES["observer-tempo"]["correlations"]
    sql = correlation["config"]["target"]["rawSql"]
    for name, value in {"spanID": "ff" if child else "a1", "parentSpanID": "a1" if child else "ee"}.items():
        sql = sql.replace(f"$${{{name}}}", value)
    assert "$" not in sql
    found = clickhouse_server.query(f"SELECT run_id, nodeid FROM ({sql}) ORDER BY run_id", database=database)
    assert found == [("r1", "a.py::t"), ("r2", "a.py::t")]
