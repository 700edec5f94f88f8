"""The labelling page: rendered by the server, usable without a script, quicker with one.

app.py        routes, who is signed in, what a request may not do
asking.py     a task, as it is shown
fields.py     what stands in the form, as a verdict, and the other way round
admin.py      progress, people and exports, for who runs it
templates/    what is shown; every text of a model is escaped, and nothing it wrote is ever run
static/       style, keys and drag; drafts, and sending again where the network failed
"""
