"""The lab: the same policies, tree and ratchet on landscapes with a known answer, and the statistics to tell them
apart.

Pure. Processes, files, pictures and the screen are elsewhere.
"""
