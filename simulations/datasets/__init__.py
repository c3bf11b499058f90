"""Viewing data as backrow sees it: catalogues, interactions, and the loaders that check them before anything runs.

Imported by the simulations only; `registry.load` is the way in.
"""
