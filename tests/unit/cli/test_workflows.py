"""Workflows in files are proved and drawn without a fleet."""

from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
from click.testing import CliRunner, Result

from actors.cli.workflows import check, graph, lying
from schemas.workflow_runs import RunFiring, RunToken, WorkflowRun
from schemas.workflows import NetProof
from tests.unit.workflow.nets import SOUND

SVG = "{http://www.w3.org/2000/svg}"


def _file(folder: Path, **changes: object) -> str:
    place = folder / "flow.yaml"
    place.write_bytes(msgspec.yaml.encode({"id": "flow", "net": {**SOUND, **changes}}))
    return str(place)


def _run(command: object, *words: str) -> Result:
    assert command in (check, graph)
    return CliRunner().invoke(check if command is check else graph, words)


def test_a_sound_workflow_is_told_with_its_bounds(tmp_path: Path):
    result = _run(check, _file(tmp_path))

    assert result.exit_code == 0
    assert "flow: sound; at most 1 executions, 0 tool calls" in result.output


def test_an_error_is_told_with_its_path_and_run_and_ends_with_1(tmp_path: Path):
    stuck = [
        *SOUND["transitions"],
        {"id": "pair", "from_places": ["review", "draft"], "to_place": "approved", "mode": "all"},
    ]
    places = [{**SOUND["places"][1], "type": "normal", "id": "other"}, *SOUND["places"]]
    wrong = [{**SOUND["transitions"][0], "to_place": "other"}, *stuck[1:]]
    result = _run(check, _file(tmp_path, places=places, transitions=wrong))

    assert result.exit_code == 1
    assert "net.places.0" in result.output
    assert "dead_end" in result.output


def test_a_warning_is_told_with_a_run_and_ends_with_0(tmp_path: Path):
    places = [
        {**one, "type": "normal"} if one["id"] == "review" else one for one in SOUND["places"]
    ]
    result = _run(check, _file(tmp_path, places=places, transitions=SOUND["transitions"][:2]))

    assert result.exit_code == 0
    assert "may_stick" in result.output
    assert "submit → (review keeps it)" in result.output


def test_findings_as_json_are_a_proof_of_each_workflow(tmp_path: Path):
    result = _run(check, _file(tmp_path), "--json")
    proofs = msgspec.json.decode(result.output, type=dict[str, NetProof])

    assert proofs["flow"].sound
    assert proofs["flow"].agents == {"reviewer": 1}


def test_what_no_workflow_can_be_is_told_with_file_and_field(tmp_path: Path):
    places = [{"id": "no place", "type": "initial"}]
    result = _run(check, _file(tmp_path, places=places))

    assert result.exit_code == 1
    assert "flow.yaml" in result.output
    assert "net.places[0].id" in result.output


def test_a_net_is_drawn_as_mermaid(tmp_path: Path):
    lines = _run(graph, _file(tmp_path)).output.splitlines()

    assert lines[0] == "flowchart LR"
    assert '  p0(["draft"]):::initial' in lines
    assert '  t0["submit<br/><small>agent reviewer</small>"]' in lines
    assert "  p0 --> t0" in lines
    assert "  t0 --> p1" in lines


def test_a_net_is_drawn_as_svg_with_every_node_and_edge(tmp_path: Path):
    picture = tmp_path / "flow.svg"
    result = _run(graph, _file(tmp_path), "--svg", "--output", str(picture))
    root = ET.fromstring(picture.read_text())  # noqa: S314 - our own
    names = {one.text for one in root.iter(f"{SVG}text")}

    assert result.exit_code == 0
    assert {"draft", "review", "approved", "rejected", "submit", "approve", "reject"} <= names
    assert len(list(root.iter(f"{SVG}rect"))) == 7
    assert len([one for one in root.iter(f"{SVG}path") if "edge" in one.get("class", "")]) == 6


def test_a_picture_is_of_a_file_or_of_an_instance(tmp_path: Path):
    for words in ((), (_file(tmp_path), "--run", "one")):
        result = _run(graph, *words)

        assert result.exit_code == 2
        assert "give a FILE, or --run" in result.output


def test_tokens_of_an_instance_lie_in_their_places_or_where_an_action_took_them():
    now = datetime(2026, 12, 1, tzinfo=UTC)

    def token(name: str, place: str) -> RunToken:
        return RunToken(id=name, place=place, data={}, metadata={}, since=now)

    def firing(name: str, place: str | None, held: RunToken) -> RunFiring:
        return RunFiring(
            id=name,
            kind="action",
            action="agent",
            phase="running",
            since=now,
            place=place,
            token=held,
        )

    run = WorkflowRun(
        instance_id="one",
        workflow_id="flow",
        version=1,
        status="RUNNING",
        revision=1,
        digest="",
        stream="",
        created_at=now,
        tokens=[token("1", "draft"), token("2", "review")],
        firings=[
            firing("3", None, token("4", "draft")),
            firing("5", "review", token("2", "review")),
        ],
    )

    assert lying(run) == {"draft": 2, "review": 1}
