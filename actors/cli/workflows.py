"""``callboard workflows check`` and ``graph``: what is found in a definition, and its picture."""

from collections import Counter
from pathlib import Path

import click

from actors.cli import rendering
from actors.cli.asking import requests_of
from actors.cli.requests import Where
from actors.cli.session import EXIT_FAILURE, Session, leave, opened
from actors.workflow.core.drawing.mermaid import mermaid
from actors.workflow.core.drawing.svg import svg
from actors.workflow.core.proof.checking import check as prove
from bus import files
from bus.client import Client
from bus.codec import convert
from bus.errors import ProblemError
from schemas.nets import NetDefinition
from schemas.workflow_definitions import ApplyWorkflow, GetWorkflow
from schemas.workflow_runs import GetWorkflowRun, WorkflowRun
from schemas.workflows import NetFinding, NetProof, WorkflowDefinition


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
@click.argument("source", metavar="[FILE]", required=False)
@click.option("--run", "run_id", metavar="ID", help="An instance: its net, with its tokens.")
@click.option("--svg", "as_svg", is_flag=True, help="A picture as SVG; otherwise Mermaid.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file to write it to."
)
@click.pass_obj
def graph(
    where: Where, source: str | None, *, run_id: str | None, as_svg: bool, output: Path | None
) -> None:
    """Draw the workflows in a file, or that of an instance, as flowcharts of Mermaid or as SVG."""
    if (source is None) == (run_id is None):
        raise click.UsageError("give a FILE, or --run")
    draw = svg if as_svg else mermaid
    if run_id is not None:
        text = draw(*_standing(opened(where), run_id))
    else:
        text = "".join(draw(one.net) for one in definitions(source or ""))
    if output is None:
        rendering.line(text, end="")
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot write {output}: {error.strerror}") from None


def _standing(session: Session, name: str) -> tuple[NetDefinition, Counter[str]]:
    """Return the net of an instance, and how many tokens lie where."""

    async def body(client: Client) -> tuple[NetDefinition, Counter[str]]:
        run: WorkflowRun = await client.request(session.tenant, GetWorkflowRun(instance_id=name))
        known = GetWorkflow(id=run.workflow_id, version=run.version)
        defined: WorkflowDefinition = await client.request(session.tenant, known)
        return defined.net, lying(run)

    return session.run(body)


def lying(run: WorkflowRun) -> Counter[str]:
    """Return how many tokens of an instance lie where; one that an action holds, at its source."""
    held = [one.token for one in run.firings if one.token is not None and one.place is None]
    return Counter(token.place for token in [*run.tokens, *held])


def definitions(source: str) -> list[ApplyWorkflow]:
    """Return the workflows in a file; what is wrong with it ends the command."""
    found: list[ApplyWorkflow] = []
    for fields in requests_of(source):
        try:
            found.append(convert(ApplyWorkflow, fields))
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
