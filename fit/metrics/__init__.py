"""Metrics: numbers about predictions, with their intervals."""
