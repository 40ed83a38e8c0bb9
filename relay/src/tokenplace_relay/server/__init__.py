"""The HTTP server below the routes: connections, bodies, responses."""
