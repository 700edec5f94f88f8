"""People's judgements: what they are asked, what they said, and that none of it is lost.

tasks.py      a prompt, the answers to it, and a verdict on them
store.py      who judges what: people, tasks, places; in SQLite or PostgreSQL
schema.py     the tables, and migrations/ that make them
"""
