"""The report: one HTML page about one cross-validated model, see `build_report`."""

from pipelines.report.page import build_report, write_report

__all__ = ["build_report", "write_report"]
