"""questream beside the other ways to give a stream of questions their clusters, on the same servers in one run."""
