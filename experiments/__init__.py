"""Configurations, results, and the scripts that make and compare them."""
