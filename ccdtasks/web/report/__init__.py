"""The report page of a run: drawn on the server, complete without a script.

page -> core.reports.load -> head, tables, steps, course, log, files: plain values for the template, and not too many
"""

from __future__ import annotations

from ccdtasks.web.report.page import ROUTES

__all__ = ["ROUTES"]
