"""Trials over a Ray cluster: workers on the GPUs they ask for by label, and nothing finished lost when things die.

The only room that imports ray. Ray Tune runs the trials, each watched over by a light actor on the head node
(`supervisor`); the measuring itself happens in workers of ours (`worker`), one for each GPU and kept from trial to
trial (`pool`), so that no death of theirs ever reaches Tune.
"""
