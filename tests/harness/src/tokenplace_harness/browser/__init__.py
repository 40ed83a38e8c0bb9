"""What the tests of the chat page need: a browser, a relay process, compute nodes, a recorder."""
