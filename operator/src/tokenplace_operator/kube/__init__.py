"""The API server: a client, its login, its errors, and the upgrade of the CRD."""
