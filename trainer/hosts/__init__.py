"""Several machines that train for one campaign.

`host.py` is the end on each of them, `trainer.py` deals the work out, `by_ray.py` is the way from one to the other.
"""
