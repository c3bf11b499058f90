"""The encrypted local history. `store.Vault` is its face; `client/device.py` and its tests import it, nobody else."""
