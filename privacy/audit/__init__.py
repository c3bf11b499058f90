"""The auditor: what can be checked of a run with its folder and a public key alone. Imports no torch and no flwr."""
