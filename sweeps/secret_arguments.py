"""Which arguments of the command `sweeps` may have a password. Imports nothing that takes time."""

from collections.abc import Sequence

STORAGE = "--storage"
VARIABLE = "SWEEPS_STORAGE"
MOVED = "SWEEPS_STORAGE_MOVED"  # set where the URL was an argument: the user's shell has it not


def without_secret(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """The arguments without a storage URL that may have a password, and the URL.

    Returns:
        The URL is None, and the arguments are all there, if none of them can have a password.

    Example:
        >>> without_secret(["list", "--storage=postgresql://kim:secret@host/sweeps", "--json"])
        (['list', '--json'], 'postgresql://kim:secret@host/sweeps')
    """
    left: list[str] = []
    url: str | None = None
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option != STORAGE:
            left.append(word)
            continue
        value = value if equals else next(words, "")
        if not value:  # a mistake, which the command explains
            return list(arguments), None
        url = value  # as in the command, the last one counts
    if url is None or not ("@" in url or "password" in url):
        return list(arguments), None
    return left, url
