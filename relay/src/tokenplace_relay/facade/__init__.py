"""An OpenAI-compatible API that encrypts for its callers."""
