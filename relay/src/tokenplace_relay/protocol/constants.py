"""The protocol's name and version, as every envelope carries them (token.place relay.py)."""

from typing import Final

PROTOCOL: Final = "tokenplace_api_v1_relay_e2ee"
VERSION: Final = 1
