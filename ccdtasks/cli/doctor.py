"""`ccdtasks doctor`"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import asdict

import click
from rich.text import Text

from ccdtasks.cli.look import CHECK_LOOKS
from ccdtasks.cli.shell import Shell, verb
from ccdtasks.doctor import Finding, examine


@click.command()
@verb
@click.pass_obj
def doctor(shell: Shell) -> int:
    """Check everything that a run needs, for real: a sealed container is started and looked at from inside.

    Exit code 0 when nothing failed, else 1.
    """
    findings = asyncio.run(_examine(shell))
    failures = [finding for finding in findings if finding.outcome == "fail"]
    if shell.as_json:
        report = {"ok": not failures, "findings": [asdict(finding) for finding in findings]}
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        counts = Counter(finding.outcome for finding in findings)
        shell.console().print(Text(f"{counts['ok']} good, {counts['warn']} with a drawback, {counts['fail']} to mend."))
    return 1 if failures else 0


async def _examine(shell: Shell) -> list[Finding]:
    loaded, console = shell.load_config(), shell.console()
    findings = []
    async for finding in examine(loaded):
        findings.append(finding)
        if not shell.as_json:
            console.print(_line(finding))
    return findings


def _line(finding: Finding) -> Text:
    sign, colour = CHECK_LOOKS[finding.outcome]
    line = Text.assemble((f"{sign} {finding.check:<9}", colour), f" {finding.text}")
    if finding.remedy:
        line.append(f"\n{'':11} {finding.remedy}", style="bold")
    return line
