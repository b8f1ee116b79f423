"""Ski-Pose PTZ."""
