"""The cache of the cluster and the watches that feed it; the only room that uses kopf."""
