"""The workflow actor: its declaration."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from actors.workflow.adapters.definitions import NETS, Workflows
from actors.workflow.adapters.definitions import opened as opened_definitions
from actors.workflow.adapters.history import Histories
from actors.workflow.adapters.http_action import HTTP_REQUEST
from actors.workflow.adapters.http_action import opened as opened_http
from actors.workflow.adapters.listed import INSTANCES
from actors.workflow.adapters.past import Past
from actors.workflow.adapters.quoting import AgentPrices
from actors.workflow.adapters.runs import RunSources, WorkflowRuns
from actors.workflow.adapters.triggers import opened as opened_triggers
from actors.workflow.config import WorkflowConfig
from actors.workflow.core.cron_trigger import CRONS
from actors.workflow.core.entity import INSTANCE
from actors.workflow.core.messages import INSTANCE_ENTITY
from bus.actor import Actor, Here, Own
from bus.jetstream.reading import StreamReader
from schemas.lifecycle import EXECUTION_ENTITY


@asynccontextmanager
async def opened(here: Here) -> AsyncGenerator[Own]:
    """Make the handlers, and what makes HTTP requests."""
    config, bus, quotas = here.config, here.bus, here.process.quotas
    quotes = AgentPrices(bus.transport)
    past = Past(bus, Histories(StreamReader(bus.nats).read_subject))
    async with (
        opened_http(here) as http,
        opened_definitions(here.bucket(NETS), bus, quotas, quotes) as workflows,
        opened_triggers(here, here.bucket(NETS)) as triggers,
    ):
        sources = RunSources(workflows, quotes, past, here.projection(INSTANCES), bus.clock)
        runs = WorkflowRuns(here.owners(INSTANCE_ENTITY), sources, config.request_timeout)
        yield Own(
            handlers=[workflows, runs],
            doer=http,
            parts=[triggers],
            uses=[workflows.uses],
        )


ACTOR = Actor(
    name="workflow",
    settings=WorkflowConfig,
    entities=[INSTANCE, CRONS],
    stores=[NETS],
    projections=[INSTANCES],
    services=[Workflows, WorkflowRuns],
    jobs=[HTTP_REQUEST],
    asks=[EXECUTION_ENTITY],
    opened=opened,
)
