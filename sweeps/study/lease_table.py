"""The table of the leases, beside Optuna's tables, and the clock that they follow."""

import sqlalchemy as sa

LONGEST_DOING = 255  # characters
_metadata = sa.MetaData()
leases = sa.Table(
    "foldsweep_leases",
    _metadata,
    sa.Column("sweep", sa.String(255), primary_key=True),
    sa.Column("owner", sa.String(36), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    # seconds since the start of the machine; the pid alone is not enough because pids are reused
    sa.Column("process_start", sa.Float, nullable=False),
    sa.Column("since", sa.Float, nullable=False),  # seconds since 1970 by the server's clock
    sa.Column("expires", sa.Float, nullable=False),
    # Earlier versions did not have these columns: the values are null in their rows.
    sa.Column("machine", sa.String(255)),  # the place in which `pid` identifies a process
    sa.Column("stop", sa.String(5)),  # a request to the driver: drain | now
    sa.Column("doing", sa.String(LONGEST_DOING)),  # what the driver does before the first trial
)


def prepare_table(engine: sa.Engine) -> None:
    """Create the table, or add the columns that a table of an earlier version lacks."""
    try:
        _metadata.create_all(engine, checkfirst=True)
    except sa.exc.DBAPIError:  # another driver created the table after the check
        if not sa.inspect(engine).has_table(leases.name):
            raise
    for name in _missing_columns(engine):
        kind = leases.c[name].type.compile(engine.dialect)
        try:
            with engine.begin() as connection:
                connection.execute(sa.text(f"ALTER TABLE {leases.name} ADD COLUMN {name} {kind}"))
        except sa.exc.DBAPIError:  # another driver may have added the column
            if name in _missing_columns(engine):
                raise


def _missing_columns(engine: sa.Engine) -> list[str]:
    stored = {column["name"] for column in sa.inspect(engine).get_columns(leases.name)}
    return [column.name for column in leases.c if column.name not in stored]


def server_clock(engine: sa.Engine) -> sa.ColumnElement[float]:
    """SQL for the seconds since 1970 by the database's clock.

    With the database's clock, the clocks of drivers need not agree.
    """
    if engine.dialect.name == "sqlite":
        return sa.literal_column("((julianday('now') - 2440587.5) * 86400.0)", sa.Float)
    return sa.literal_column("extract(epoch from clock_timestamp())::float8", sa.Float)
