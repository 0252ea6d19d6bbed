"""The names of the sweeps in a SQLite file, read in a millisecond: for completion in a shell.

Everything else asks the storage through Optuna, which takes a second to import.
"""

import sqlite3
from pathlib import Path
from urllib.parse import quote

WAIT_S = 0.2  # for a writer; a user waits for the answer with a finger on the key


def names_in(file: Path) -> list[str]:
    """The names of the stored sweeps, the latest first.

    Raises:
        sqlite3.Error: the file cannot be read, or holds no sweeps.
    """
    # other programs' studies in the file lack the attribute, see `records.SWEEP`
    asked = (
        "SELECT study_name FROM studies JOIN study_user_attributes USING (study_id) "
        "WHERE key = 'foldsweep' ORDER BY study_id DESC"
    )
    address = f"file:{quote(str(file.absolute()))}?mode=ro"
    connection = sqlite3.connect(address, uri=True, timeout=WAIT_S)
    try:
        return [str(name) for (name,) in connection.execute(asked)]
    finally:
        connection.close()
