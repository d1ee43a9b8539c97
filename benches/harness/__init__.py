"""Runs perfd, perf and samply side by side and writes the table of docs/PERFORMANCE.md."""
