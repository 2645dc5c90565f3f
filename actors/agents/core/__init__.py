"""The pure domain of agents: definitions, prompts, history, lists, and the execution entity."""
