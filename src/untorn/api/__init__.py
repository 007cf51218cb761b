"""What programs see of untorn."""
