"""Thinks: planners and coders. Imports only `search`."""
