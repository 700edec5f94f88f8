"""A task may say itself what to go by. Services of the revision before go on beside this one: they leave it empty."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """To this revision."""
    op.add_column("tasks", sa.Column("instructions", sa.Text(), nullable=False, server_default=""))
