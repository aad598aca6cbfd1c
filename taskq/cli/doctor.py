"""`taskq doctor`."""

from __future__ import annotations

import click

from taskq.cli.exits import Exit
from taskq.cli.output import coloured, line, show
from taskq.cli.server_options import Server, with_server
from taskq.durability import Durability, check_durability
from taskq.inspector.doctor import Diagnosis, Finding, Patient, Status, diagnose, many
from taskq.inspector.namespace_checks import NAMESPACE_CHECKS, mend_orphans
from taskq.inspector.payloads import store_check
from taskq.inspector.server_checks import SERVER_CHECKS, durability_check

_COLOURS = {Status.WARNING: "yellow", Status.PROBLEM: "red", Status.OK: "green"}


def _durability(_ctx: click.Context, _param: click.Parameter, value: str) -> Durability:
    try:
        return check_durability(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from error


@click.command
@click.option("--fix", is_flag=True, allow_from_autoenv=False, help="Mend records that nothing points to.")
@click.option(
    "--durability",
    metavar="DURABILITY",
    envvar="TASKQ_DURABILITY",
    default="relaxed",
    show_default=True,
    callback=_durability,
    help="What programs ask for: relaxed, fsync or replicated:N. Or TASKQ_DURABILITY.",
)
@with_server
def doctor(server: Server, fix: bool, durability: Durability, as_json: bool) -> Exit:
    """Check the server and the namespace, and say what to do.

    Exit code 1 if there is a problem; warnings alone are 0. What the server does not tell is "not checked".
    """
    patient = Patient(server.shards)
    mended = server.run(mend_orphans(patient)) if fix else None
    checks = [*SERVER_CHECKS, ("durability", durability_check(durability)), *NAMESPACE_CHECKS]
    if store := server.payloads.store:
        checks.append(("payloads", store_check(store)))
    findings = server.run(diagnose(patient, checks))
    diagnosis = Diagnosis(findings, mended)
    show(as_json, diagnosis, _show)
    return Exit.OK if diagnosis.healthy else Exit.NO


def _show(diagnosis: Diagnosis) -> None:
    width = max(len(finding.check) for finding in diagnosis.findings)
    for finding in diagnosis.findings:
        _show_finding(finding, width)
    if diagnosis.mended is not None:
        line(f"{many(diagnosis.mended, 'record')} mended")


def _show_finding(finding: Finding, width: int) -> None:
    status = coloured(f"{finding.status.value:<11}", _COLOURS.get(finding.status))
    click.echo(f"{status}  {finding.check:<{width}}  ", nl=False)
    line(finding.says)
