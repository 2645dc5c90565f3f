"""A net as SVG: in layers from the initial place on, each node after what leads to it. Pure."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import NamedTuple

from actors.workflow.core.drawing.graph import GraphEdge, GraphNode, NetGraph, graph
from actors.workflow.core.drawing.mermaid import NO_TOKENS
from schemas.nets import NetDefinition

WIDE, HIGH = 190, 76
"""Room of a node, with what lies between two."""

NODE_WIDE, NODE_HIGH = 140, 40
MARGIN = 20
SWEEPS = 4

_STYLE = (
    "text{font:12px sans-serif;text-anchor:middle}.note{font-size:9px;fill:#555}"
    ".node{fill:#fff;stroke:#333}.end{stroke-width:3}.error{stroke:#b00;stroke-width:3}"
    ".initial{stroke-width:3}.manual{stroke-dasharray:4}.marked{fill:#fd8}"
    ".edge{fill:none;stroke:#333}.aside{stroke-dasharray:4}"
)
_ARROW = (
    '<marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0 0L8 4L0 8z"/></marker>'
)


class _Spot(NamedTuple):
    x: float
    y: float


def svg(net: NetDefinition, tokens: Mapping[str, int] = NO_TOKENS) -> str:
    """Return a picture; ``tokens`` says how many lie in which places."""
    return "\n".join(_lines(graph(net, tokens))) + "\n"


def _lines(drawn: NetGraph) -> Iterator[str]:
    layers = _ordered(_layers(drawn), drawn.edges)
    spots = {
        key: _Spot(MARGIN + WIDE * x, MARGIN + HIGH * y)
        for x, layer in enumerate(layers)
        for y, key in enumerate(layer)
    }
    wide = 2 * MARGIN + WIDE * len(layers)
    high = 2 * MARGIN + HIGH * max(map(len, layers), default=0)
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}">'
    yield f"<style>{_STYLE}</style><defs>{_ARROW}</defs>"
    yield from (_edge(edge, spots) for edge in drawn.edges)
    for node in drawn.nodes:
        yield from _node(node, spots[node.key])
    yield "</svg>"


def _layers(drawn: NetGraph) -> list[list[str]]:
    """Return the nodes by how far they are from the initial place; those out of reach last."""
    follows: dict[str, list[str]] = {node.key: [] for node in drawn.nodes}
    for edge in drawn.edges:
        follows[edge.source].append(edge.target)
    layer = [node.key for node in drawn.nodes if node.kind == "initial"][:1]
    seen, layers = set(layer), list[list[str]]()
    while layer:
        layers.append(layer)
        layer = list(dict.fromkeys(to for one in layer for to in follows[one] if to not in seen))
        seen.update(layer)
    rest = [node.key for node in drawn.nodes if node.key not in seen]
    return [*layers, rest] if rest else layers


def _ordered(layers: list[list[str]], edges: list[GraphEdge]) -> list[list[str]]:
    """Return layers in which each node lies near those that it is tied to (barycentres)."""
    tied: dict[str, list[str]] = {}
    for edge in edges:
        tied.setdefault(edge.source, []).append(edge.target)
        tied.setdefault(edge.target, []).append(edge.source)
    for _ in range(SWEEPS):
        place = {key: float(at) for layer in layers for at, key in enumerate(layer)}
        layers = [
            sorted(layer, key=lambda key: _middle(key, tied.get(key, []), place))
            for layer in layers
        ]
    return layers


def _middle(key: str, others: list[str], place: Mapping[str, float]) -> float:
    return sum(place[one] for one in others) / len(others) if others else place[key]


def _edge(edge: GraphEdge, spots: Mapping[str, _Spot]) -> str:
    begin, end = spots[edge.source], spots[edge.target]
    x, y = begin.x + NODE_WIDE, begin.y + NODE_HIGH / 2
    to_x, to_y = end.x, end.y + NODE_HIGH / 2
    bend = (WIDE - NODE_WIDE) / 2
    if end.x <= begin.x:
        # Backwards: below both.
        low = max(begin.y, end.y) + NODE_HIGH + 14
        way = f"M{x} {y}C{x + bend} {low} {to_x - bend} {low} {to_x} {to_y}"
    else:
        way = f"M{x} {y}C{x + bend} {y} {to_x - bend} {to_y} {to_x} {to_y}"
    kind = "edge aside" if edge.note else "edge"
    title = f"<title>{escape(edge.note)}</title>" if edge.note else ""
    return f'<path class="{kind}" d="{way}" marker-end="url(#arrow)">{title}</path>'


def _node(node: GraphNode, spot: _Spot) -> Iterator[str]:
    is_place = node.kind not in ("transition", "manual")
    kinds = {"terminal": "end"}.get(node.kind, node.kind)
    marked = " marked" if node.tokens else ""
    round_ = NODE_HIGH / 2 if is_place else 2
    yield (
        f'<rect class="node {kinds}{marked}" x="{spot.x}" y="{spot.y}" width="{NODE_WIDE}" '
        f'height="{NODE_HIGH}" rx="{round_}"/>'
    )
    held = f" ●{node.tokens}" if node.tokens else ""
    middle = spot.x + NODE_WIDE / 2
    yield f'<text x="{middle}" y="{spot.y + 18}">{escape(node.name[:22])}{held}</text>'
    if node.note:
        note = escape(node.note[:34])
        yield f'<text class="note" x="{middle}" y="{spot.y + 31}">{note}</text>'
