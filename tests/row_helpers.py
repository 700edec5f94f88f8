"""Rows as a file of data has them."""

from plaudit.rows import Row


def turn(role: str, content: str) -> dict[str, str]:
    """One turn of a conversation."""
    return {"role": role, "content": content}


def row(**fields: object) -> Row:
    """A row with these fields, of a file whose name an error can be looked for."""
    return Row(fields, "data.jsonl:7")
