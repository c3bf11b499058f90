"""The ledger: signed entries in a Merkle tree, its proofs, and what devices and witnesses check of it.

Only `store` touches files. The coordinator, devices, witnesses and auditors may import it.
"""
