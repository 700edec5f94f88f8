"""How the tables come to be, step by step, for databases that hold judgements already."""
