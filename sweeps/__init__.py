"""Hyper-parameter searches, their results as tables and plots, reports and dashboards."""
