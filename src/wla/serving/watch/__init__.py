"""What a served policy does, for people: a page on this machine, and logs for Rerun."""
