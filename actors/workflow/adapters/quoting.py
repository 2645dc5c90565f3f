"""What one run of an agent costs at most: asked of the agents and of the rate book."""

from actors.workflow.core.money import agents_of
from actors.workflow.core.tokens import MOST_TOKEN_BYTES
from bus.client.requests import Client
from bus.codec import encode
from bus.errors import CallboardError, ProblemError, TransientError
from bus.ports import Transport
from bus.requests.caller import Caller
from schemas.agents import AgentDefinition, GetAgent
from schemas.nets import NetDefinition
from schemas.quotes import PriceQuote, QuotedUsage, QuotePrice

ANSWER_TOKENS = 8192
"""What an agent that sets no bound is taken to answer, as where budgets hold."""

ATTEMPTS = 5
"""How often an agent's answer is attempted that says nothing of it."""


class AgentPrices:
    """Asks on behalf of a caller; what they may not read has no known price."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def prices(self, caller: Caller, net: NetDefinition) -> dict[str, int | None]:
        """Return what a run of each agent costs at most, in pico-dollars; None is not known.

        An agent that calls tools may ask its model any number of times more: that is not known.
        """
        return {agent: await self._price(caller, agent) for agent in sorted(agents_of(net))}

    async def missing(self, caller: Caller, net: NetDefinition) -> set[str]:
        """Return the agents of a net that are not there."""
        client, found = Client(self._transport, caller.principal), set[str]()
        for agent in agents_of(net):
            try:
                await client.request(caller.tenant, GetAgent(id=agent))
            except ProblemError as refused:
                if refused.problem.code == "not_found":
                    found.add(agent)
            except TransientError:
                continue
        return found

    async def _price(self, caller: Caller, agent: str) -> int | None:
        client = Client(self._transport, caller.principal)
        try:
            known: AgentDefinition = await client.request(caller.tenant, GetAgent(id=agent))
            if known.tools:
                return None
            quote: PriceQuote = await client.request(caller.tenant, _question(known))
        except CallboardError:
            return None
        return quote.cost_pico * (known.limits.max_attempts or ATTEMPTS)


def _question(agent: AgentDefinition) -> QuotePrice:
    """Ask for the largest prompt that a token can make, a token for each byte, and its answer."""
    size = MOST_TOKEN_BYTES + len(encode(agent.prompts)) + len(encode(agent.personality))
    answer = agent.config.max_tokens or ANSWER_TOKENS
    provider = agent.provider
    return QuotePrice(
        provider=str(provider.__struct_config__.tag),
        model=provider.model,
        usage=QuotedUsage(input=size, output=answer),
    )
