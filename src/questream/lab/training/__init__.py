"""A model fine-tuned on a user's own duplicates, and what it is worth on questions that it has not seen."""
