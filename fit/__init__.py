"""Stillframe second stage: heads on cached features."""
