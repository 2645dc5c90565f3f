"""The system prompt of an agent, from its personality and its instructions."""

from schemas.agents import AgentDefinition, Behavior, LanguageStyle, Personality, Tone, Trait

TRAITS: dict[Trait, str] = {
    "friendly": "friendly and approachable",
    "professional": "professional and reliable",
    "creative": "creative and open to unusual ideas",
    "analytical": "analytical and precise",
}
TONES: dict[Tone, str] = {
    "professional": "Keep a professional tone.",
    "casual": "Keep a casual, relaxed tone.",
    "formal": "Keep a formal tone.",
    "enthusiastic": "Keep an enthusiastic tone.",
}
BEHAVIORS: dict[Behavior, str] = {
    "helpful": "Be helpful: look for what the user needs and offer it.",
    "direct": "Be direct: come to the point without preamble.",
    "empathetic": "Be empathetic: take the user's situation and feelings into account.",
    "technical": "Be technical: use exact terms and give the details an expert would want.",
}
STYLES: dict[LanguageStyle, str] = {
    "concise": "Answer concisely.",
    "detailed": "Answer in detail.",
    "conversational": "Answer as in a conversation.",
}


def paragraph(personality: Personality | None) -> str:
    """Describe a personality in a few sentences; empty where nothing is set.

    Traits come in a fixed order, whatever order they are written in.
    """
    if personality is None:
        return ""
    traits = [text for trait, text in TRAITS.items() if trait in personality.traits]
    sentences = [
        f"You are {_enumerate(traits)}." if traits else "",
        TONES[personality.tone] if personality.tone else "",
        BEHAVIORS[personality.behavior] if personality.behavior else "",
        STYLES[personality.language_style] if personality.language_style else "",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def system_prompt(definition: AgentDefinition) -> str:
    """Return the whole system prompt: instructions, then personality, then context instructions.

    Parts are separated by an empty line. Templates are not filled here: nothing that comes with an
    execution reaches the system prompt.
    """
    prompts = definition.prompts
    parts = [prompts.system, paragraph(definition.personality), prompts.context_instructions or ""]
    return "\n\n".join(part.strip() for part in parts if part.strip())


def _enumerate(phrases: list[str]) -> str:
    *rest, last = phrases
    return f"{', '.join(rest)} and {last}" if rest else last
