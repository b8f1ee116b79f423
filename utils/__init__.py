"""Shared foundations; nothing in here imports data or models."""
