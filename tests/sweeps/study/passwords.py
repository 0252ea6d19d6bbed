"""A user who needs a password of special characters."""

from urllib.parse import quote

from tests.postgres import Server

# all that has a meaning of its own in a URL, a format or a percent code
PASSWORD = "p@ss:w/rd%41{}?#secret"


def url_of_carol(server: Server, *, password: str, database: str = "carols") -> str:
    host = server.url.query["host"]
    return f"postgresql://carol:{quote(password, safe='')}@/{database}?host={host}"
