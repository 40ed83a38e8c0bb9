"""Python programs that tests run inside the relay's container to inspect its environment."""

from typing import Final

STATUS: Final = "print(open('/proc/1/status').read())"
ENVIRONMENT: Final = "import json, os; print(json.dumps(dict(os.environ)))"
WRITE: Final = """
try:
    open('/opt/file', 'w')
except OSError as error:
    print(error)
"""
TOKEN: Final = """
import pathlib
print(*list(pathlib.Path('/var/run/secrets').rglob('token')) or ['none'])
"""
ASK_GPU: Final = """
import os, urllib.request
url = os.environ['TOKENPLACE_RELAY_UPSTREAM_URL'] + '/health'
print(urllib.request.urlopen(url, timeout=5).read().decode())
"""
