"""Quality of clusters and similarities: gold groups and labelled pairs, questions clustered in this process."""
