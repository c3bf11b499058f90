"""report.html: what a run claims, what it costs and what it does not protect. Used by the runner and the demo."""
