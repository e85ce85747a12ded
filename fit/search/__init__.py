"""Fitting one head with many settings and choosing the best on validation."""
