"""The report: one HTML page about one cross-validated model; `pipelines.report.page` builds it."""
