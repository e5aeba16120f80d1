"""How well questions are clustered, beside what else there is: the same vectors, the same orders, one run."""
