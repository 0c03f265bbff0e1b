"""Loaded once by the server that children fork from: libraries imported, each family trained."""

import forked

forked.warm()
