"""People's judgements: what they are asked, what they said, and that none of it is lost.

tasks.py         a prompt, the answers to it, and a verdict on them
store.py         who judges what: people, tasks, places; in SQLite or PostgreSQL (database.py)
records.py       what the store hands out; counts.py, mapping.py: what it counts, what its rows mean
awaited.py       the tasks that somebody waits for
schema.py        the tables, and migrations/ that make them
reading.py       tasks from rows of data, and judgements that a team already has
label_studio.py  those in Label Studio's export
exporting.py     judgements in the forms that trainers read
agreement.py     how far people agree beyond chance, and each with the others
bias.py          whether people went by length, or by place
reliability.py   how far each person can be relied on
consensus.py     what is most likely right, by all who were asked
scale.py         one number for each answer, and for each model: bradley_terry.py, elo.py
summary.py       all of it, for whoever runs the work; as text: summary_report.py
label.py         `plaudit label`: what comes in and goes out, and where people judge:
                 serving.py with the page in page/, terminal.py; asking.py: a task as both show it, fields.py: as
                 it is filled in
"""
