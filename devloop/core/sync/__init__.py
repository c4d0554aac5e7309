"""What containers should hold, what they hold, and how the difference gets there."""
