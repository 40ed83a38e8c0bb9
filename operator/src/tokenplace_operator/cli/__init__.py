"""`kubectl tokenplace`: what people ask about their relays, one file a verb."""
