"""What one run of an agent wants otherwise than its definition: model, provider, settings. Pure."""

import msgspec

from actors.agents.core.checks import check
from schemas.agents import AgentDefinition
from schemas.executions import ExecuteAgent
from schemas.patches import patched
from schemas.policy import Policy, Rule
from schemas.problems import Problem


def overridden(definition: AgentDefinition, run: ExecuteAgent) -> AgentDefinition | Problem:
    """Return the definition as a run has it, held to what a stored one is held to.

    What the run names no rule of the agent's policy decides. The keys of the policy are those of
    the agent's own provider, so another provider has none but its own secret.
    """
    if run.provider is None and run.model is None and not run.config:
        return definition
    provider, policy = run.provider or definition.provider, _ruled(definition.policy, run)
    if run.provider is not None:
        policy = msgspec.structs.replace(policy, keys=[])
    if run.model is not None:
        provider = msgspec.structs.replace(provider, model=run.model)
    config = patched(AgentDefinition, "config", definition.config, run.config)
    if isinstance(config, Problem):
        return config
    wanted = msgspec.structs.replace(definition, provider=provider, config=config, policy=policy)
    return check(wanted) or wanted


def _ruled(policy: Policy, run: ExecuteAgent) -> Policy:
    """Return a policy whose rules choose nothing that the run has chosen."""
    if run.provider is not None or run.model is not None:
        rules = [msgspec.structs.replace(one, model=None, provider=None) for one in policy.rules]
        policy = msgspec.structs.replace(policy, rules=rules)
    if "temperature" in run.config:
        rules = [msgspec.structs.replace(one, temperature=None) for one in policy.rules]
        policy = msgspec.structs.replace(policy, rules=rules)
    return msgspec.structs.replace(policy, rules=[one for one in policy.rules if _chooses(one)])


def _chooses(rule: Rule) -> bool:
    return (rule.model, rule.provider, rule.temperature) != (None, None, None)
