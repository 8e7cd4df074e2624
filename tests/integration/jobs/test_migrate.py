from __future__ import annotations

import subprocess
import sys

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from support.batches import audit, submit

from wavemill.errors import DatabaseUnavailableError
from wavemill.jobs import migrate
from wavemill.jobs.database import Database
from wavemill.jobs.management_schema import all_tables

_UPGRADE = """
import sys
from wavemill.jobs.database import Database
from wavemill.jobs.migrate import upgrade
database = Database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(upgrade(database))
"""


def test_the_migrations_make_the_tables_that_the_code_expects(database: Database) -> None:
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, all_tables) == []
        indexes = {index["name"] for index in inspect(connection).get_indexes("jobs")}
    assert {"ix_jobs_batch_id_state_id", "ix_jobs_lease_until"} <= indexes
    assert (
        migrate.current(database) == migrate.NEWEST == ScriptDirectory.from_config(migrate.config()).get_current_head()
    )
    assert database.is_migrated()


def test_downgrade_leaves_nothing_and_upgrade_works_again(database: Database) -> None:
    config = migrate.config()
    with database.transaction() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    with database.reading() as connection:
        assert set(inspect(connection).get_table_names()) <= {"alembic_version"}
    assert migrate.current(database) is None
    assert not database.is_migrated()
    migrate.upgrade(database)
    audit(database, submit(database, 3))


def test_an_upgrade_of_an_upgraded_database_keeps_its_rows(database: Database) -> None:
    batch_id = submit(database, 3)
    assert migrate.upgrade(database) == migrate.NEWEST
    audit(database, batch_id)


def test_processes_that_upgrade_a_new_database_at_once_all_succeed(database_url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _UPGRADE, database_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert outputs == [f"{migrate.NEWEST}\n"] * 3


def test_a_new_sqlite_file_is_made_ready_and_a_new_postgresql_database_asks_for_its_owner(database_url: str) -> None:
    database = Database(database_url)
    if database.is_postgresql:
        with pytest.raises(DatabaseUnavailableError, match="wavemill db upgrade"):
            migrate.ensure(database)
        migrate.upgrade(database)
    migrate.ensure(database)
    migrate.ensure(database)
    assert database.is_migrated()
    database.close()


def test_tables_of_another_version_are_refused_with_what_to_do(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseUnavailableError, match=r"9999.*update wavemill here"):
        migrate.ensure(database)
