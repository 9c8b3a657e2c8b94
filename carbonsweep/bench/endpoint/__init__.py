"""An OpenAI-compatible server as a client sees it: its address, its dialect, its streams, and what to believe of them.

Everything a server says is taken for hostile: sizes are capped, numbers are checked, and what does not add up is an
error with a name.
"""
