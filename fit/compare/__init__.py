"""Comparing heads: what they score, what they cost, and which are best at their cost."""
