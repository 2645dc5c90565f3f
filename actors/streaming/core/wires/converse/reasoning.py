"""How the models behind Bedrock are told to reason: each family in fields of its own.

Sources: the pages of the Bedrock user guide on extended and adaptive thinking (Claude), on Nova 2's
extended thinking, and OpenAI's open-weight models.
"""

import re
from typing import Any

from schemas.capabilities.anthropic import ADAPTIVE, BUDGETED, GRADED
from schemas.llm import Effort, ModelConfig

NOVA = re.compile(r"amazon\.nova|/nova")
_OPEN_WEIGHT = re.compile(r"openai\.gpt-oss")

LEAST_BUDGET = 1024

_BUDGETS: dict[Effort, int] = {
    "minimal": LEAST_BUDGET,
    "low": 2048,
    "medium": 8192,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 60_000,
}
"""Tokens of thought for models that know no levels; never more than half of the answer's limit."""

_NOVA_EFFORTS = {"minimal": "low", "xhigh": "high", "max": "high"}


def reasoning(model: str, config: ModelConfig) -> dict[str, Any]:
    """Return the model's own fields for the effort, or the budget, that is asked for."""
    effort, budget = config.reasoning_effort, config.reasoning_budget
    if effort in {None, "none"} and not budget:
        return {}
    if NOVA.search(model):
        level = _NOVA_EFFORTS.get(effort or "medium", effort or "medium")
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": level}}
    if _OPEN_WEIGHT.search(model):
        return {"reasoning_effort": effort or "medium"}
    graded = {"output_config": {"effort": effort}} if effort and GRADED.search(model) else {}
    if ADAPTIVE.search(model) and not budget:
        return {"thinking": {"type": "adaptive"}, **graded}
    if BUDGETED.search(model) or budget:
        return {"thinking": {"type": "enabled", "budget_tokens": _budget(config)}, **graded}
    return graded


def _budget(config: ModelConfig) -> int:
    if config.reasoning_budget:
        return config.reasoning_budget
    wanted = _BUDGETS.get(config.reasoning_effort or "medium", _BUDGETS["medium"])
    limit = config.max_tokens // 2 if config.max_tokens else wanted
    return max(min(wanted, limit), LEAST_BUDGET)
