"""The coordinator: rounds, cohorts, the book of the ledger, programs, signed bundles, the Flower ServerApp.

Imports `backrow.privacy`, never `backrow.client`; only `backrow.simulations` imports it.
"""
