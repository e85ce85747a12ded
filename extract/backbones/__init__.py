"""Backbones: frozen networks, their weights, and where they can be cut."""
