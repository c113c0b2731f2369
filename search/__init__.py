"""Decides: the tree, the policies, the ratchet, one experiment's life, the campaign. Everything but `experiment` and
`campaign` is pure."""
