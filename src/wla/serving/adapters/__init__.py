"""Policies in the words of other packages' evaluations. Each module needs its package, and nothing else imports it."""
