"""Workflows on a real fleet: an agent, a person, refusals, time travel, and a killed owner."""

from pathlib import Path
from typing import Any

import anyio
import msgspec
from nats.errors import NoRespondersError

from schemas.streams import Completed
from tests.fleet import PlainClient, running_fleet

SECONDS = 60.0

REVIEW: dict[str, Any] = {
    "places": [
        {"id": "draft", "type": "initial"},
        {"id": "reviewed", "type": "review"},
        {"id": "done", "type": "terminal"},
        {"id": "refused", "type": "terminal"},
    ],
    "transitions": [
        {
            "id": "review",
            "from_places": ["draft"],
            "to_place": "reviewed",
            "action": {
                "type": "agent",
                "agent_id": "reviewer",
                "task": "Review: {{data.text}}",
                "output_mapping": {"data.verdict": "text", "data.execution": "execution_id"},
            },
        },
        {
            "id": "publish",
            "from_places": ["reviewed"],
            "to_place": "done",
            "manual": True,
            "rules": [{"type": "field_equals", "field": "metadata.approved", "value": True}],
        },
        {
            "id": "refuse",
            "from_places": ["reviewed"],
            "to_place": "refused",
            "manual": True,
        },
    ],
}


async def insisted(client: PlainClient, verb: str, body: dict[str, Any]) -> Any:
    """Ask again where a process has taken the request to its grave: an id makes that harmless."""
    while True:
        try:
            return await client.ask(verb, body, timeout=3)
        except TimeoutError:
            continue
        except NoRespondersError:
            await anyio.sleep(0.05)


async def settled(client: PlainClient, instance: str, *wanted: str) -> Any:
    """Return an instance once it has one of these statuses."""
    while True:
        run = await insisted(client, "workflows.get_run", {"instance_id": instance})
        assert run.get("type") != "problem", run
        if run["status"] in wanted:
            return run
        await anyio.sleep(0.02)


async def started(client: PlainClient, **wanted: Any) -> str:
    """Ask until the actor is there: it has just been started."""
    while True:
        handle = await insisted(client, "workflows.start", {"workflow_id": "review", **wanted})
        if handle.get("type") != "problem":
            return handle["instance_id"]
        await anyio.sleep(0.2)


async def test_a_document_is_reviewed_and_its_owner_killed_on_the_way(tmp_path: Path) -> None:
    with anyio.fail_after(SECONDS):
        async with running_fleet(tmp_path) as fleet:
            for number in range(2):
                await fleet.start(f"workflow.{number}")
            await fleet.ready(4)
            async with fleet.client() as client:
                await client.script("reviewer", "fine", delay_ms=300)
                unsound = {**REVIEW, "places": REVIEW["places"][:3]}
                refused = await client.ask("workflows.apply", {"id": "review", "net": unsound})
                assert (refused["code"], refused["field"]) == (
                    "validation",
                    "net.transitions.2.to_place",
                )
                applied = await client.ask("workflows.apply", {"id": "review", "net": REVIEW})
                assert applied["version"] == 1, applied
                await _reviewed(client)
                await _killed(fleet, client)


async def _reviewed(client: PlainClient) -> None:
    wanted = {"data": {"text": "x"}, "metadata": {"lang": "de"}, "id": "one"}
    instance = await started(client, **wanted)
    run = await settled(client, instance, "WAITING")
    assert [token["place"] for token in run["tokens"]] == ["reviewed"]
    act = {"instance_id": instance}
    refused = await client.ask("workflows.fire", {**act, "transition": "publish"})
    assert refused["code"] == "conflict"
    assert "approved" in str(refused["details"])
    approved = {**act, "token": run["tokens"][0]["id"], "metadata": {"approved": True}}
    changed = await client.ask("workflows.update_token", approved)
    fire = {**act, "transition": "publish", "expected_version": run["revision"]}
    assert (await client.ask("workflows.fire", fire))["field"] == "expected_version"
    fire["expected_version"] = changed["revision"]
    assert (await client.ask("workflows.fire", fire))["status"] == "COMPLETED"
    end = (await client.events(instance))[-1]
    assert isinstance(end, Completed)
    told = {"text": "x", "verdict": "fine", "execution": _child(run)}
    assert msgspec.json.decode(end.final_response) == told
    await _looked_back(client, act, revision=changed["revision"] + 1)


def _child(run: Any) -> str:
    return run["tokens"][0]["data"]["execution"]


async def _looked_back(client: PlainClient, act: dict[str, Any], revision: int) -> None:
    history = await client.ask("workflows.history", {**act, "at": 1})
    assert [turn["turn"] for turn in history["turns"]] == [*range(1, revision + 1)]
    assert history["firings"][0]["transition"] == "review"
    replayed = await client.ask("workflows.replay", act)
    assert (replayed["equal"], replayed["turns"]) == (True, revision), replayed
    fork = await client.ask("workflows.fork", {**act, "at": 2 + (revision > 4)})
    listed = await client.ask("workflows.list_runs", {"place": "reviewed"})
    assert [run["instance_id"] for run in listed["runs"]] == [fork["instance_id"]], listed
    ended = await client.ask("workflows.fire", {**_of(fork), "transition": "refuse"})
    assert ended["status"] == "COMPLETED", ended
    found = await client.ask("workflows.list_runs", {"metadata": {"lang": "de"}})
    assert {run["status"] for run in found["runs"]} == {"COMPLETED"}
    assert found["total"] == 2


def _of(handle: Any) -> dict[str, Any]:
    return {"instance_id": handle["instance_id"]}


async def _killed(fleet: Any, client: PlainClient) -> None:
    """Kill the owner while agents run: each instance goes on, and no agent runs twice."""
    names = [f"k{number}" for number in range(4)]
    before = (await client.ask("executions.list", {"agent_id": "reviewer"}))["total"]
    for name in names:
        await started(client, id=name, data={"text": name})
    await fleet.kill("workflow.0")
    for name in names:
        assert await started(client, id=name, data={"text": name}) == name
        run = await settled(client, name, "WAITING")
        assert run["tokens"][0]["data"]["verdict"] == "fine"
    listed = await client.ask("executions.list", {"agent_id": "reviewer"})
    assert listed["total"] == before + len(names)
