"""Alembic asks here how to reach the database: `store.open_database` has a connection ready, in a transaction."""

from alembic import context

from plaudit.feedback.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite changes a table by making it anew
)
with context.begin_transaction():
    context.run_migrations()
