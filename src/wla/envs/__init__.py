"""Environments and their registry."""
