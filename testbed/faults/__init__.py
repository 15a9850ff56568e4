"""Whole installations that are hurt on purpose, and what must hold afterwards."""
