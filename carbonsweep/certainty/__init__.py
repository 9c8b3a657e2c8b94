"""How sure an answer is: its interval, and how often the recommended configuration stays the best."""
