"""Questions as they come by mail, and how much of the mail is left around them."""
