"""Shows: what a campaign looks like, as text, JSON and a live screen. Imports only `search`."""
