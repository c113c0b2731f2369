"""Sizes that no kernel likes."""

WIDTH = 37
ROWS, LENGTH = 3, 251
