"""The quality of clustering beside other methods: the same vectors, the same orders, one run."""
