"""One model for many processes: its owner embeds, the others hand token ids to it and get vectors back."""
