"""The wire protocol of token.place peers: envelopes and their encryption."""
