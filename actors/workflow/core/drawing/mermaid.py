"""A net as a flowchart of Mermaid (https://mermaid.js.org/syntax/flowchart.html). Pure."""

from collections.abc import Iterator, Mapping

from actors.workflow.core.drawing.graph import GraphNode, graph
from schemas.nets import NetDefinition

NO_TOKENS: Mapping[str, int] = {}

_SHAPES = {
    "transition": ("[", "]"),
    "manual": ("[/", "/]"),
    "terminal": ("(((", ")))"),
    "error": ("(((", ")))"),
}
_CLASSES = (
    "classDef initial stroke-width:3px",
    "classDef error stroke:#b00",
    "classDef marked fill:#fd8",
)


def mermaid(net: NetDefinition, tokens: Mapping[str, int] = NO_TOKENS) -> str:
    """Return a flowchart; ``tokens`` says how many lie in which places."""
    return "\n".join(_lines(net, tokens)) + "\n"


def _lines(net: NetDefinition, tokens: Mapping[str, int]) -> Iterator[str]:
    drawn = graph(net, tokens)
    yield "flowchart LR"
    for node in drawn.nodes:
        begin, end = _SHAPES.get(node.kind, ("([", "])"))
        yield f"  {node.key}{begin}{_label(node)}{end}{_class(node)}"
    for edge in drawn.edges:
        arrow = f"-. {edge.note} .->" if edge.note else "-->"
        yield f"  {edge.source} {arrow} {edge.target}"
    yield from (f"  {one}" for one in _CLASSES)


def _label(node: GraphNode) -> str:
    held = f" ●{node.tokens}" if node.tokens else ""
    more = f"<br/><small>{_escaped(node.note)}</small>" if node.note else ""
    return f'"{_escaped(node.name)}{held}{more}"'


def _escaped(text: str) -> str:
    """Write what Mermaid would read as its own by numbers of characters."""
    return "".join(f"#{ord(one)};" if one in '"<>#&`' else one for one in text)


def _class(node: GraphNode) -> str:
    if node.tokens:
        return ":::marked"
    return f":::{node.kind}" if node.kind in ("initial", "error") else ""
