"""The labelling page: rendered by the server, usable without a script, quicker with one.

app.py        routes; requests.py: who is signed in, what stands in a form
guard.py      what no request may do, and what every page says to browsers
desk.py       what the handlers share; metrics.py: what is counted of them
admin.py      progress, people and exports, for who runs it
templates/    what is shown; every text of a model is escaped, and nothing it wrote is ever run
static/       style, keys and drag; drafts, and sending again where the network failed
"""
