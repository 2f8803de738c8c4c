"""Each printed file, loaded by the program that it is for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

COORD = [sys.executable, "-m", "coordinator.cli"]
CONFIG = """
groupId = "Orders_of:Bern"
livenessCheckInterval = 12
stopTimeout = 40
[http]
listen = "0.0.0.0:8123"
[databaseConfig]
url = "postgresql://coord@db.example.org/coord"
"""


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "Config.toml"
    path.write_text(CONFIG)
    return path


def printed(config: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*COORD, "print", *arguments, "--config", str(config)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert re.search(r"@[A-Z_]+@", done.stdout) is None
    return done.stdout


def needs(program: str) -> str:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"there is no {program} here")
    return found


def accepts(*command: str) -> str:
    """Run a program that checks a file, and return what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.long
def test_prometheus_takes_the_alerts(config, tmp_path):
    rules = tmp_path / "alerts.yml"
    rules.write_text(printed(config, "alerts"))

    assert "8 rules found" in accepts(needs("promtool"), "check", "rules", str(rules))


@pytest.mark.long
def test_alerts_fire_when_they_should_and_not_else(config, tmp_path):
    (tmp_path / "alerts.yml").write_text(printed(config, "alerts"))
    (tmp_path / "cases.yml").write_text(CASES)

    accepts(needs("promtool"), "test", "rules", str(tmp_path / "cases.yml"))


CASES = """
rule_files: [alerts.yml]
evaluation_interval: 10s
tests:
  - interval: 10s
    input_series:
      - {series: 'coord_is_active{group="g",task="a",instance="a"}', values: '1x60'}
      - {series: 'coord_is_active{group="g",task="b",instance="b"}', values: '0x30 1x30'}
      - {series: 'coord_group_leaderless_seconds{group="g"}', values: '0x60'}
      - {series: 'coord_group_leaderless_seconds{group="dead"}', values: '0+10x60'}
      - {series: 'coord_group_leaderless_seconds{group="paused"}', values: '0+10x60'}
      - {series: 'coord_group_paused{group="paused"}', values: '1x60'}
      - {series: 'coord_standbys{group="g"}', values: '1x60'}
      - {series: 'coord_job_runs_total{group="g",job="good",outcome="ok"}', values: '0+1x60'}
      - {series: 'coord_job_runs_total{group="g",job="good",outcome="skipped"}', values: '0+1x60'}
      - {series: 'coord_job_runs_total{group="g",job="bad",outcome="failed"}', values: '0x30 1x30'}
    alert_rule_test:
      - {eval_time: 4m, alertname: CoordRunsFail, exp_alerts: []}
      - eval_time: 6m
        alertname: CoordRunsFail
        exp_alerts:
          - exp_labels: {group: g, job: bad, outcome: failed, severity: warning}
            exp_annotations:
              summary: "schedule bad of group g: a run failed"
              description: "See `coord jobs g`."
      - {eval_time: 1m, alertname: CoordTwoActive, exp_alerts: []}
      - eval_time: 8m
        alertname: CoordTwoActive
        exp_alerts:
          - exp_labels: {group: g, severity: critical}
            exp_annotations:
              summary: "group g: 2 nodes say that they are active"
              description: >-
                One scrape may fall into a handover; a second one must not. See `coord status g`.
      - {eval_time: 20s, alertname: CoordNobodyActive, exp_alerts: []}
      - eval_time: 1m
        alertname: CoordNobodyActive
        exp_alerts:
          - exp_labels: {group: dead, severity: critical}
            exp_annotations:
              summary: "group dead: nobody has been active for 1m 0s"
              description: >-
                A takeover takes livenessCheckInterval at most. See `coord explain dead`.
      - {eval_time: 8m, alertname: CoordNoStandby, exp_alerts: []}
      - {eval_time: 8m, alertname: CoordNoData, exp_alerts: []}
"""


@pytest.mark.long
def test_systemd_takes_the_unit(config, tmp_path):
    program = tmp_path / "coord"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "coord.service"
    unit.write_text(printed(config, "systemd", "--user", "root", "--command", str(program)))

    said = accepts(needs("systemd-analyze"), "--man=no", "verify", str(unit))

    assert said == ""


def test_the_unit_has_the_times_of_the_configuration(config):
    unit = printed(config, "systemd")

    lines = dict(line.partition("=")[::2] for line in unit.splitlines() if "=" in line)
    assert lines["KillMode"] == "mixed"
    assert lines["RestartPreventExitStatus"] == "2 78"
    assert int(lines["TimeoutStopSec"]) > 40
    assert int(lines["WatchdogSec"]) > 2 * 12
    assert lines["ExecStart"].endswith(f"run --config {config}")
    assert lines["ExecStopPost"].endswith(f"node ended --config {config}")


def test_haproxy_takes_its_file(config, tmp_path):
    path = tmp_path / "haproxy.cfg"
    path.write_text(
        printed(config, "haproxy", "--server", "a=192.0.2.7:9000", "--server", "b=[::1]:9")
    )

    accepts(needs("haproxy"), "-c", "-f", str(path))
    assert "server a 192.0.2.7:9000 check port 8123" in path.read_text()


def test_haproxy_asks_the_agent_of_a_node_that_has_one(config, tmp_path):
    config.write_text(CONFIG.replace("[http]\n", '[http]\nagentCheck = "0.0.0.0:8124"\n'))
    path = tmp_path / "haproxy.cfg"
    path.write_text(printed(config, "haproxy", "--server", "a=192.0.2.7:9000"))

    accepts(needs("haproxy"), "-c", "-f", str(path))
    assert "check port 8123 agent-check agent-port 8124" in path.read_text()


@pytest.mark.parametrize(
    "server", ["a", "a=b", "a=b:0", "a=b:99999", "a b=c:1", "a=b\n c:1", "=b:1"]
)
def test_a_server_that_is_none_is_refused(config, server: str):
    done = subprocess.run(
        [*COORD, "print", "haproxy", "--server", server, "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert "NAME=HOST:PORT" in done.stderr


def test_the_compose_file_has_three_nodes_of_one_group(config):
    document = yaml.safe_load(printed(config, "compose"))

    nodes = [service for name, service in document["services"].items() if name.startswith("node-")]
    assert len({node["environment"]["COORD_TASK_ID"] for node in nodes}) == 3
    assert {node["environment"]["COORD_GROUP_ID"] for node in nodes} == {"Orders_of:Bern"}
    assert {node["environment"]["COORD_REQUIRE_DATABASE"] for node in nodes} == {"1"}
    for node in nodes:
        assert node["command"][:3] == ["coord", "run", "--"]
        assert node["healthcheck"]["test"] == ["CMD", "coord", "check", "--local"]
        assert node["depends_on"] == {"postgres": {"condition": "service_healthy"}}
        # compose itself would replace a single dollar
        assert re.search(r"(?<!\$)\$(?!\$)", node["command"][-1].replace("$$", "")) is None


def test_the_manifest_fits_together(config):
    documents = list(yaml.safe_load_all(printed(config, "kubernetes", "--replicas", "3")))

    nodes, budget, service = documents
    assert [(each["apiVersion"], each["kind"]) for each in documents] == [
        ("apps/v1", "StatefulSet"),
        ("policy/v1", "PodDisruptionBudget"),
        ("v1", "Service"),
    ]
    pod = nodes["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert nodes["spec"]["selector"]["matchLabels"] == labels
    assert budget["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    assert nodes["spec"]["replicas"] == 3
    (container,) = pod["spec"]["containers"]
    port = container["ports"][0]
    assert port["containerPort"] == 8123
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == port["name"]
    environment = {each["name"]: each for each in container["env"]}
    assert environment["COORD_LISTEN"]["value"].endswith(":8123")
    assert pod["spec"]["terminationGracePeriodSeconds"] > 40
    names = [each["metadata"]["name"] for each in documents]
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name) for name in names)


def test_the_dashboard_shows_known_metrics(config):
    document: dict[str, Any] = json.loads(printed(config, "grafana"))

    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert [panel["title"] for panel in panels if not panel["targets"][0]["expr"]] == []


#: Labels that Prometheus adds.
ADDED = {"instance", "job", "le"}


def expressions(config: Path) -> list[tuple[str, str]]:
    """Return each expression of alerts and dashboard, with the texts that name its labels."""
    document = json.loads(printed(config, "grafana"))
    panels = [
        (target["expr"], target["legendFormat"])
        for panel in document["panels"]
        for target in panel["targets"]
    ]
    variables = [(str(each["query"]), "") for each in document["templating"]["list"]]
    (group,) = yaml.safe_load(printed(config, "alerts"))["groups"]
    alerts = [(rule["expr"], str(rule["annotations"])) for rule in group["rules"]]
    return panels + [(query, text) for query, text in variables if "coord_" in query] + alerts


def test_alerts_and_dashboard_ask_for_metrics_and_labels_that_nodes_export(config):
    from coordinator.web.node.catalogue import METRICS, Kind

    known = {metric.name: set(metric.labels) for metric in METRICS}
    for metric in METRICS:
        if metric.kind is Kind.HISTOGRAM:
            del known[metric.name]
            known |= {f"{metric.name}_{end}": set(metric.labels) for end in ("bucket", "sum")}
    wrong = []
    asked = expressions(config)
    for expression, text in asked:
        names = re.findall(r"coord_\w+", expression)
        has = set.intersection(*(known.get(name, set()) for name in names)) | ADDED
        grouped = [set(re.findall(r"\w+", by)) for by in re.findall(r"by \(([^)]*)\)", expression)]
        matched = set(re.findall(r"(\w+)=~?\"", expression))
        shown = set(re.findall(r"\$labels\.(\w+)", text) or re.findall(r"\{\{(\w+)\}\}", text))
        left = set.intersection(has, *grouped)
        if not set(names) <= known.keys() or not matched.union(*grouped) <= has or shown - left:
            wrong.append((expression, text))

    assert wrong == []
    assert len(asked) > 15


def test_every_variable_of_a_node_is_one_that_nodes_know(config):
    from coordinator.app.config.model.names import run_options

    known = {each.setting.env for each in run_options()}
    known |= {
        "COORD_GROUP_ID",
        "COORD_DATABASE_URL",
        "COORD_DATABASE_PASSWORD",
        "COORD_REQUIRE_DATABASE",
    }
    text = printed(config, "compose") + printed(config, "kubernetes") + printed(config, "systemd")

    assert set(re.findall(r"COORD_[A-Z_]+", text)) - known == {"COORD_NODE"}


def test_supervisord_gets_final_exit_codes(config):
    text = printed(config, "supervisor")

    assert "[program:coord-orders-of-bern]" in text
    assert "exitcodes=0,2,78" in text
