"""What people prefer: rows of data as preferences, and how often scores agree with them."""
