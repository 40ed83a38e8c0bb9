"""What the operator knows of the cluster, and the watches that keep it current; kopf ends here."""
