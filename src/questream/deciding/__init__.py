"""What turns vectors into committed decisions."""
