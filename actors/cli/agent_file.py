"""``callboard agents new``: a commented agent file to begin with."""

from pathlib import Path

import click

from actors.cli import rendering
from actors.cli.session import EXIT_USAGE

TEXT = """\
# An agent. Make it known with `callboard agents apply {id}.yaml`, run it with
# `callboard run {id} "the task"`. A line that begins with # directly before a name is a setting
# that is off: take the # away. What is not given has the value rendering, or none.

id: {id}                        # 1 to 64 letters, digits, hyphens or underscores
name: {id}                      # for people
#description: What it is for.
#kind: general                   # any word, to find it by
#capabilities: [assessment]      # what it can do, to find it by
#metadata: {{team: stage}}         # anything of yours, but no keys

# Who answers. type: openai, anthropic, google, groq, azure, bedrock, ollama, custom, scripted.
# The key of a provider comes from the fleet's environment (OPENAI_API_KEY, ...), or is named as
# `secret: NAME` (`callboard config secrets`). For a model on this machine: `callboard local-model`,
#   {{type: custom, model: smollm2-135m-instruct, base_url: "http://127.0.0.1:11435/v1"}}
provider:
  type: scripted                 # plays its responses word by word: a trial without a key
  responses: [Welcome backstage. Your call is on the board.]

prompts:
  system: You welcome people at the stage door.
  # {{input_data}} is the task; any other {{name}} must come with the run, as --context name=value.
  # {{{{name}}}} is the text {{name}} itself.
  user_template: "{{input_data}}"
  #context_instructions: Answer for people who do not know the house.

#personality:                    # becomes a sentence of the system prompt
  #traits: [friendly]            # friendly, professional, creative, analytical
  #tone: casual                  # professional, casual, formal, enthusiastic
  #behavior: helpful             # helpful, direct, empathetic, technical
  #language_style: concise       # concise, detailed, conversational

#config:                         # what the model is asked; what it does not know is refused
  #temperature: 0.7              # 0 to 2
  #max_tokens: 1000              # the longest answer; budgets assume 8,192 without it
  #top_p: 0.9
  #top_k: 40
  #frequency_penalty: 0.0
  #presence_penalty: 0.0
  #stop_sequences: [END]
  #seed: 7
  #reasoning_effort: low         # none, minimal, low, medium, high, xhigh, max
  #reasoning_budget: 1024        # tokens
  #reasoning_summary: auto       # none, auto, concise, detailed
  #verbosity: low                # low, medium, high
  #response_format:              # the answer is JSON, and is verified: see policy.structured_output
    #type: json_schema           # json_schema, json_object
    #schema: {{type: object, properties: {{grade: {{type: string}}}}, required: [grade]}}
  #tool_choice: auto             # auto, required, none, or {{name: TOOL}}
  #parallel_tool_calls: true
  #service_tier: flex            # a provider's own word
  #cache: 5m                     # 5m, 1h: how long the provider keeps the prompt
  #unsupported: refuse           # refuse, drop: what becomes of a setting the model does not take
  #extra: {{}}                     # fields of the provider's own request, sent as they are

#tools:                          # of MCP servers, or your own: a call of these ends the execution
  #- server: notes               # a server that the pool knows: callboard mcp servers-list
    #tools: ["get*", "create*"]   # all, unless given
    #deny: [createUser]
    #requires_approval: ["create*"]  # true, or which: callboard executions approve
    #seconds: 60
  #- name: look_up
    #description: Looks up a name.
    #parameters: {{type: object, properties: {{name: {{type: string}}}}, required: [name]}}

#memory:                         # how much of a --session goes into the next call
  #strategy: sliding_window      # sliding_window, last_n
  #max_history: 10               # messages
  #context_window: 4000          # tokens, for sliding_window

#limits:
  #timeout_seconds: 300          # from acceptance to the end, waiting included
  #max_attempts: 5
  #tool_rounds: 16               # then the model is asked for its answer once more
  #tool_calls: 64
  #parallel_tools: 8             # calls of one answer that run side by side

#policy:
  #keys: [first, second]         # names of secrets that serve the provider in turn
  #fallbacks:                    # asked in this order when those before fail
    #- provider: {{type: custom, model: small, base_url: "https://models.example.com/v1"}}
  #continuation: never           # never, supported, always: going on with an answer that was cut
  #structured_output: fail       # fail, retry, warn: an answer that is not of response_format
  #cache: {{ttl_seconds: 3600}}    # the same request is answered again from before
  #rules:                        # another model by the task
    #- {{name: hard, when: {{complexity_at_least: 20}}, model: gpt-4o}}
  #safety:                       # what goes to the model and what comes back; not the stored task
    #rules:
      #- {{name: phones, outcome: redacted, patterns: ['\\\\d{{3}}-\\\\d{{4}}']}}
"""


def text(name: str) -> str:
    """Return the file of an agent with this id. Pure."""
    return TEXT.format(id=name).replace("\\\\d", "\\d")


@click.command()
@click.argument("name")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Where to write it; - prints it.  [default: NAME.yaml]",
)
def new(name: str, file: Path | None) -> None:
    """Write a commented agent file, NAME.yaml, with every setting an agent has.

    A file that is there stays as it is.
    """
    place = file or Path(f"{name}.yaml")
    if str(place) == "-":
        rendering.line(text(name), end="")
        return
    try:
        with place.open("x", encoding="utf-8") as opened:
            opened.write(text(name))
    except OSError as error:
        rendering.line(f"cannot write {place}: {error.strerror}", err=True)
        raise click.exceptions.Exit(EXIT_USAGE) from None
    rendering.line(f"{place} is written: `callboard agents apply {place}`")
