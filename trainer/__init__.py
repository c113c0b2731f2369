"""Measures: budgets, trials, the trusted scorer. Imports only `search`."""
