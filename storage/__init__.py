"""Remembers: the journal and the git repository. Imports only `search`."""
