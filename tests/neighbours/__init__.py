"""Other plugins beside ours: each with a small suite, run with us and without."""
