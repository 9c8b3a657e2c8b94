"""Checks against peers, machines and storms, each a command of its own; see the Makefile."""
