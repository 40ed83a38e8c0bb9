"""The HTTP server below the routes; every use of aiohttp's internals is in this package."""
