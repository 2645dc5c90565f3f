"""``callboard workflows check`` and ``graph``: what is found in a definition, and its picture."""

from pathlib import Path

import click

from actors.cli import rendering
from actors.cli.asking import requests_of
from actors.cli.session import EXIT_FAILURE, leave
from actors.workflow.core.drawing.mermaid import mermaid
from actors.workflow.core.drawing.svg import svg
from actors.workflow.core.proof.checking import check as prove
from bus import files
from bus.codec import convert
from bus.errors import ProblemError
from schemas.base import StrictValue
from schemas.ids import Token
from schemas.nets import NetDefinition
from schemas.workflows import NetFinding, NetProof


class WorkflowFile(StrictValue):
    """What a file says of a workflow: the fields of ``workflows.apply``."""

    id: Token
    net: NetDefinition
    name: str = ""
    description: str = ""


@click.command("check")
@click.argument("sources", metavar="FILE…", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(sources: tuple[str, ...], *, as_json: bool) -> None:
    """Prove the workflows in files before they run; exits with 1 if an error is found.

    It needs no fleet. Shown is what was found with a run that leads to it, and how often agents and
    tools can run at most.
    """
    proofs = {one.id: prove(one.net) for source in sources for one in definitions(source)}
    if as_json:
        rendering.json(proofs)
    else:
        for name, proof in proofs.items():
            _show(name, proof)
    if any(one.severity == "error" for proof in proofs.values() for one in proof.findings):
        raise click.exceptions.Exit(EXIT_FAILURE)


@click.command("graph")
@click.argument("source", metavar="FILE")
@click.option("--svg", "as_svg", is_flag=True, help="A picture as SVG; otherwise Mermaid.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file to write it to."
)
def graph(source: str, *, as_svg: bool, output: Path | None) -> None:
    """Draw the workflows in a file as flowcharts of Mermaid, or as SVG."""
    draw = svg if as_svg else mermaid
    text = "".join(draw(one.net) for one in definitions(source))
    if output is None:
        rendering.line(text, end="")
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot write {output}: {error.strerror}") from None


def definitions(source: str) -> list[WorkflowFile]:
    """Return the workflows in a file; what is wrong with it ends the command."""
    found: list[WorkflowFile] = []
    for fields in requests_of(source):
        try:
            found.append(convert(WorkflowFile, fields))
        except ProblemError as error:
            leave(files.named(error, source))
    return found


def _show(name: str, proof: NetProof) -> None:
    rendering.line(f"{name}: {said(proof)}")
    if proof.findings:
        rendering.table(("severity", "path", "finding", "run"), map(_row, proof.findings))


def said(proof: NetProof) -> str:
    """Return in one line what is proved. Pure."""
    verdict = "sound" if proof.sound else "not proved sound"
    bounds = (("executions", proof.executions), ("tool calls", proof.tool_calls))
    most = ", ".join(f"{'any number of' if n is None else n} {what}" for what, n in bounds)
    return f"{verdict}; at most {most}; {proof.markings} markings"


def _row(finding: NetFinding) -> tuple[str, str, str, str]:
    message = f"{finding.message} ({finding.code})"
    return finding.severity, finding.path, message, " → ".join(finding.witness)
