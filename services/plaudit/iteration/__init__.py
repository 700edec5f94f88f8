"""Rounds of judging and learning, and what they are made of.

iterate.py      the page that tells the whole: `plaudit iterate`
settings.py     what can be chosen
plan.py         what each program of each round is asked to do, and where everything lies
stages.py       each thing once: what is done is not done again
processes.py    programs as child processes (child.py: none outlives us)
generate.py     `plaudit generate`: a policy's answers as rows; drawing.py draws, row_file.py keeps, priority.py orders
judging.py      a round's tasks into the store, what was said out of it
labelling.py    a reward server as the one who judges
comparing.py    a round's policy beside those before it
rounds.py       what the rounds left behind, read again (report.py shows it, card.py tells whoever uses the policy)
"""
