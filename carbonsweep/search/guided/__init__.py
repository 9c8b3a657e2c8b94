"""The model-guided search: the device model ranks the space, measurements correct it, the next trial gains most."""
