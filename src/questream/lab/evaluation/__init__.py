"""How good clusters and similarities are: gold groups and labelled pairs, questions clustered in this process."""
